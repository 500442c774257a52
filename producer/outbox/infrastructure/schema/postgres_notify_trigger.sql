-- Wakes the relay after a commit of any writer. While the relay is busy it looks by itself, and lets writers have
-- the shared lock; only one that waits for a notification holds it exclusively. So NOTIFY, which makes commits wait
-- for each other, is paid only when somebody needs it.
CREATE OR REPLACE FUNCTION tidings_outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox_event', '');
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS tidings_outbox_wake ON "outbox_event";
CREATE TRIGGER tidings_outbox_wake AFTER INSERT ON "outbox_event" FOR EACH STATEMENT
    WHEN (NOT pg_try_advisory_xact_lock_shared(1952738667, 'outbox_event'::regclass::oid::integer))
    EXECUTE FUNCTION tidings_outbox_wake();
