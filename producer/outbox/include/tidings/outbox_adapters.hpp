#pragma once

// Adds an event over a connection of the service's own, in its transaction: over SQLite's C interface,
// SQLiteCpp and libpq. For libpqxx: <tidings/outbox_pqxx.hpp>.

#include <tidings/domain_event.hpp>

struct sqlite3;
struct pg_conn;

namespace SQLite {
class Database;
}

namespace tidings {

/// Writes the event as PENDING in the transaction that is open on the connection. It neither begins one nor
/// ends it: the event is published when the service commits, and gone when it rolls back. On PostgreSQL the
/// commit wakes the relay.
///
///     SQLite::Transaction transaction{database};
///     orders.insert(order);
///     tidings::add_to_outbox(database, OrderPlaced{order});
///     transaction.commit();
///
/// Throws DatabaseError when no transaction is open or the database refuses (retryable for a lock, a full
/// disk, a lost connection), and Error for an event that cannot be written. As thread-safe as the connection.
void add_to_outbox(sqlite3* connection, const DomainEvent& event);
void add_to_outbox(SQLite::Database& connection, const DomainEvent& event);

/// Not in libpq's pipeline mode. What is thrown for a refusal of PostgreSQL's is a PostgresError. In a
/// library that was built without PostgreSQL there is no such function.
void add_to_outbox(pg_conn* connection, const DomainEvent& event);

}  // namespace tidings
