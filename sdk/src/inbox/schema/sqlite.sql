-- The inbox's tables in their first version; what later ones add is added to it.
CREATE TABLE IF NOT EXISTS inbox_group (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
-- A row for each event whose effects are committed. UUIDs are stored as their 16 bytes, other ids as text; for a source
-- whose id was taken by another, both as a longer blob.
CREATE TABLE IF NOT EXISTS inbox (
    group_id INTEGER NOT NULL,
    event_id NOT NULL,
    handled_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, event_id)
) WITHOUT ROWID;
-- Events that were started and did not succeed yet.
CREATE TABLE IF NOT EXISTS inbox_attempt (
    group_id INTEGER NOT NULL,
    event_id NOT NULL,
    starts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, event_id)
) WITHOUT ROWID;
-- Up to where a group has settled everything on a stream, which is told from another one of its name by its creation.
CREATE TABLE IF NOT EXISTS inbox_position (
    group_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    stream_created TEXT NOT NULL,
    settled_to INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, stream)
) WITHOUT ROWID;
-- A row for each group whose order is strict, with who is at work: the fence of its commits.
CREATE TABLE IF NOT EXISTS inbox_order (
    group_id INTEGER PRIMARY KEY,
    tenure TEXT NOT NULL
);
-- Signs of life of that instance, apart from the row that its commits lock.
CREATE TABLE IF NOT EXISTS inbox_beat (
    group_id INTEGER PRIMARY KEY,
    beat INTEGER NOT NULL
);
-- One row. PRAGMA user_version belongs to the file, which handlers' tables share.
CREATE TABLE IF NOT EXISTS inbox_schema (
    version INTEGER NOT NULL
);
