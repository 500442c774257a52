-- The inbox's tables. In one transaction under a lock: instances that start at the same moment would make the same
-- table twice.
BEGIN;
SET LOCAL lock_timeout = '5s';
SELECT pg_advisory_xact_lock(hashtext('tidings inbox'));
CREATE TABLE IF NOT EXISTS inbox_group (
    id serial PRIMARY KEY,
    name text NOT NULL UNIQUE
);
-- A row for each event whose effects are committed. The key is a UUID's 16 bytes, or the id's text behind a zero byte
-- (and before another one when those were 16 bytes); for a source whose id was taken by another, both behind a one.
CREATE TABLE IF NOT EXISTS inbox (
    group_id integer NOT NULL,
    event_id bytea NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, event_id)
);
-- Events that were started and did not succeed yet.
CREATE TABLE IF NOT EXISTS inbox_attempt (
    group_id integer NOT NULL,
    event_id bytea NOT NULL,
    starts integer NOT NULL,
    last_error text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, event_id)
);
-- Up to where a group has settled everything on a stream, which is told from another one of its name by its creation.
CREATE TABLE IF NOT EXISTS inbox_position (
    group_id integer NOT NULL,
    stream text NOT NULL,
    stream_created text NOT NULL,
    settled_to bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, stream)
);
-- A row for each group whose order is strict, with who is at work: the fence of its commits.
CREATE TABLE IF NOT EXISTS inbox_order (
    group_id integer PRIMARY KEY,
    tenure text NOT NULL
);
-- Signs of life of that instance, apart from the row that its commits lock.
CREATE TABLE IF NOT EXISTS inbox_beat (
    group_id integer PRIMARY KEY,
    beat bigint NOT NULL
);
-- One row.
CREATE TABLE IF NOT EXISTS inbox_schema (
    version integer NOT NULL
);
-- The second version. Older binaries go on working beside it: they leave the columns NULL. The table is locked when
-- they are missing only.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'inbox_attempt'::regclass AND attname = 'state') THEN
        ALTER TABLE inbox_attempt
            ADD COLUMN state text, ADD COLUMN reason text, ADD COLUMN next_attempt_at timestamptz;
        DELETE FROM inbox_schema;
        INSERT INTO inbox_schema(version) VALUES (2);
    END IF;
    -- The third: the time that the group's prunes have seen.
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'inbox_group'::regclass AND attname = 'seen_at') THEN
        ALTER TABLE inbox_group ADD COLUMN seen_at timestamptz;
        DELETE FROM inbox_schema;
        INSERT INTO inbox_schema(version) VALUES (3);
    END IF;
    -- The fourth: whose an id is, where it is no UUID (rows of older binaries have NULL, and are of any source), and
    -- when the stream has stored the message of a dead letter.
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'inbox_attempt'::regclass AND attname = 'source') THEN
        ALTER TABLE inbox ADD COLUMN source bytea;
        ALTER TABLE inbox_attempt ADD COLUMN source bytea, ADD COLUMN message_stored_at timestamptz;
        DELETE FROM inbox_schema;
        INSERT INTO inbox_schema(version) VALUES (4);
    END IF;
END $$;
COMMIT;
