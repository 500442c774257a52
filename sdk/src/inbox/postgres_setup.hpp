#pragma once

// What the inbox's sessions in PostgreSQL need before they are used.

#include "inbox/postgres_tables.hpp"

#include <tidings/postgres_connection.hpp>

#include <string>

namespace tidings {

/// Returns the URL. Throws SettingError when it is not PostgreSQL's.
[[nodiscard]] const std::string& require_postgresql(const std::string& url);

/// Limits how long a session may block its group, and has its commits reach the disk. Throws PostgresError.
void set_up_session(PostgresConnection& database);
/// The same with the next statement, for one transaction: behind a pooler, the session is others', too.
void queue_transaction_set_up(PostgresConnection& database);

/// Logs what a crash of the server would cost.
void tell_crash_losses(PostgresTables& database);

/// Creates the tables that are missing, and adds what is missing in older ones. A login without CREATE rights
/// needs them to be complete already, but for that of positions. False without that one.
[[nodiscard]] bool make_inbox_tables(PostgresTables& database);

}  // namespace tidings
