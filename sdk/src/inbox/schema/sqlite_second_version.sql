-- Older binaries go on working beside it: they leave the columns NULL.
ALTER TABLE inbox_attempt ADD COLUMN state TEXT;
ALTER TABLE inbox_attempt ADD COLUMN reason TEXT;
ALTER TABLE inbox_attempt ADD COLUMN next_attempt_at INTEGER;
DELETE FROM inbox_schema;
INSERT INTO inbox_schema(version) VALUES (2);
