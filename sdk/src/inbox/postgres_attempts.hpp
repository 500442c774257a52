#pragma once

// The table inbox_attempt in PostgreSQL.

#include "inbox/inbox.hpp"

#include <tidings/postgres_connection.hpp>

#include <optional>
#include <string>

namespace tidings {

[[nodiscard]] std::optional<Inbox::Attempts> read_attempts(PostgresConnection& database,
                                                           const std::string& group,
                                                           const EventIdentity& event);
void write_attempts(PostgresConnection& database, const std::string& group, const EventIdentity& event,
                    const Inbox::Attempts& attempts);
void delete_attempts(PostgresConnection& database, const std::string& group, const EventIdentity& event);

}  // namespace tidings
