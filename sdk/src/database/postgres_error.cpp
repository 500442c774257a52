#include <tidings/postgres_error.hpp>

#include <algorithm>

namespace tidings {
namespace {

/// libpq's messages end in a newline and may have several lines, some of which begin with a tab.
std::string one_line(std::string text) {
  text.erase(text.find_last_not_of(" \n") + 1);
  for (auto at = text.find("\n\t"); at != std::string::npos; at = text.find("\n\t", at))
    text.erase(at + 1, 1);
  std::ranges::replace(text, '\n', ' ');
  std::ranges::replace(text, '\t', ' ');
  return text;
}

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
    : DatabaseError(one_line(what), may_pass(sqlstate, of) ? Retry::yes : Retry::no),
      sqlstate_(std::move(sqlstate)),
      of_(of) {}

}  // namespace tidings
