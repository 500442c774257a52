#pragma once

// The rows by which an inbox in PostgreSQL knows what was handled.

#include "inbox/event_key.hpp"
#include "inbox/postgres_tables.hpp"

#include <string>
#include <unordered_map>
#include <vector>

namespace tidings {

struct ClaimRow {
  std::string key;    ///< as text of a bytea
  std::string place;  ///< its ctid
};

/// Writes the rows of those events that have none yet, and returns them by EventKey::unique(). One statement
/// for UUIDs; two or more where there are other ids.
[[nodiscard]] std::unordered_map<std::string, ClaimRow> write_claims(
    PostgresTables& database, const std::string& group, const std::vector<EventIdentity>& events);

[[nodiscard]] bool is_handled(PostgresTables& database, const std::string& group, const EventIdentity& event);

}  // namespace tidings
