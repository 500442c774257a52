#pragma once

// The table inbox_attempt in PostgreSQL.

#include "inbox/inbox.hpp"
#include "inbox/postgres_tables.hpp"

#include <optional>
#include <string>

namespace tidings {

[[nodiscard]] std::optional<Inbox::Attempts> read_attempts(PostgresTables& database, const std::string& group,
                                                           const EventIdentity& event);
void write_attempts(PostgresTables& database, const std::string& group, const EventIdentity& event,
                    const Inbox::Attempts& attempts);
void delete_attempts(PostgresTables& database, const std::string& group, const EventIdentity& event);

}  // namespace tidings
