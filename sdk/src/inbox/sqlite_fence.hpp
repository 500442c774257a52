#pragma once

// What a strict group's commits are checked against, in an inbox in SQLite.

#include "inbox/sqlite_tables.hpp"

#include <cstdint>
#include <string>

namespace tidings {

/// On the inbox's own connection.
class SqliteFence {
 public:
  SqliteFence(const SqliteTables& database, std::int64_t group) : database_(database), group_(group) {}

  /// As those of Inbox.
  [[nodiscard]] bool is_strict();
  void make_strict();
  void use(const std::string& tenure) { tenure_ = tenure; }

  /// The last statement before COMMIT: throws TenureLost when another has the tenure. It is a sign of life as
  /// well: nobody else could write one while the transaction was open.
  void require_tenure();

 private:
  const SqliteTables database_;
  const std::int64_t group_;
  std::string tenure_;
  SqliteTables::Statement is_strict_{
      database_, "SELECT 1 FROM inbox_order JOIN inbox_beat USING (group_id) WHERE group_id = ?"};
  SqliteTables::Statement beat_{database_, R"sql(
      UPDATE inbox_beat SET beat = beat + 1 WHERE group_id = ?
         AND EXISTS (SELECT 1 FROM inbox_order WHERE group_id = ? AND tenure = ?))sql"};
};

}  // namespace tidings
