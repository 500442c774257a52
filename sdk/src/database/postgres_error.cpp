#include <tidings/postgres_error.hpp>

namespace tidings {
namespace {

/// Whether the same statement may succeed later.
bool may_pass(const std::string& sqlstate, PostgresError::Of of) {
  if (sqlstate.empty() || of == PostgresError::Of::kept_plan) return true;
  // Connection, rollback, resources, operator, system.
  for (const char* group : {"08", "40", "53", "57", "58"})
    if (sqlstate.starts_with(group)) return true;
  // Lock not available, a server that only reads (it was failed over), an unusable page.
  return sqlstate == "55P03" || sqlstate == "25006" || sqlstate == "25P03" || sqlstate == "XX001";
}

}  // namespace

PostgresError::PostgresError(const std::string& what, std::string sqlstate, Of of)
    : DatabaseError(what, may_pass(sqlstate, of) ? Retry::yes : Retry::no),
      sqlstate_(std::move(sqlstate)),
      of_(of) {}

}  // namespace tidings
