#include "database/statement_run.hpp"

namespace tidings {
namespace {

/// What to_iso8601 can write with a year of four digits.
Timestamp within_calendar(Timestamp time) {
  using namespace std::chrono;
  return time >= sys_days{year{1} / January / 1} && time < sys_days{year{10000} / January / 1} ? time
                                                                                               : Timestamp{};
}

}  // namespace

Timestamp read_time(const SQLite::Column& column) {
  if (column.isInteger() || column.isFloat())
    return within_calendar(Timestamp{std::chrono::milliseconds{column.getInt64()}});
  if (!column.isText()) return {};
  return within_calendar(parse_timestamp(column.getText()).value_or(Timestamp{}));
}

}  // namespace tidings
