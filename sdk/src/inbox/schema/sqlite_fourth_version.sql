-- Whose an id is, where it is no UUID. Older binaries leave it NULL: their rows are of any source.
ALTER TABLE inbox ADD COLUMN source TEXT;
ALTER TABLE inbox_attempt ADD COLUMN source TEXT;
DELETE FROM inbox_schema;
INSERT INTO inbox_schema(version) VALUES (4);
