#pragma once

// How writers know that the relay's watch needs a notification: while it waits for one it holds this advisory
// lock exclusively, and a writer that cannot share it notifies. See schema/postgres_notify_trigger.sql.

#define TIDINGS_WAKE_LOCK "(1952738667, 'outbox_event'::regclass::oid::integer)"

namespace tidings::wake_lock {

/// In the writer's transaction.
inline constexpr const char* notify_if_held =
    "SELECT pg_notify('outbox_event', '') WHERE NOT pg_try_advisory_xact_lock_shared" TIDINGS_WAKE_LOCK;
inline constexpr const char* listen = "LISTEN outbox_event";
inline constexpr const char* try_hold = "SELECT pg_try_advisory_lock" TIDINGS_WAKE_LOCK;
inline constexpr const char* give_up = "SELECT pg_advisory_unlock" TIDINGS_WAKE_LOCK;

}  // namespace tidings::wake_lock

#undef TIDINGS_WAKE_LOCK
