#pragma once

// Finds the PUBLISHED rows whose retention is over, some at a time.
//
// publishedAt has no index, but createdAt <= publishedAt. So the rows that were
// created before the limit are walked in the order of the index on (status,
// createdAt), and those published after it are passed over. A walk goes on where
// it was left: after a long outage, when there are many such rows, each is examined
// once a walk instead of once a call.

#include <tidings/timestamp.hpp>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tidings {

/// Not thread-safe. Throws SQLite::Exception.
class PublishedRows {
 public:
  explicit PublishedRows(SQLite::Database& database);

  /// The positions of up to `limit` rows published before `before`; examines no more than ten
  /// times as many, so that the caller's transaction stays short. Leaves out the newest row of the table.
  [[nodiscard]] std::vector<std::int64_t> next_before(Timestamp before, int limit);

  /// True when the walk came to its end; the next call starts another.
  [[nodiscard]] bool at_end() const noexcept { return at_end_; }

 private:
  /// As text, also where a writer (older Prisma clients) has put a number: the column's affinity makes
  /// a number of it again. SQLite puts numbers before all texts.
  struct Place {
    std::string created_at = "-9223372036854775808";
    std::int64_t position = 0;
  };

  [[nodiscard]] std::int64_t newest();

  SQLite::Statement rows_, newest_;
  Place seen_;
  bool at_end_ = true;
};

}  // namespace tidings
