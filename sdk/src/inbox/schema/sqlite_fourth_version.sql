-- Whose an id is, where it is no UUID. Older binaries leave it NULL: their rows are of any source.
ALTER TABLE inbox ADD COLUMN source TEXT;
ALTER TABLE inbox_attempt ADD COLUMN source TEXT;
-- Of a dead letter: when the stream has stored its message, in milliseconds since the Unix epoch.
ALTER TABLE inbox_attempt ADD COLUMN message_stored_at INTEGER;
DELETE FROM inbox_schema;
INSERT INTO inbox_schema(version) VALUES (4);
