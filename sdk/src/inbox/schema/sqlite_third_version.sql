-- The time that the group's prunes have seen. Older binaries leave it alone.
ALTER TABLE inbox_group ADD COLUMN seen_at INTEGER;
DELETE FROM inbox_schema;
INSERT INTO inbox_schema(version) VALUES (3);
