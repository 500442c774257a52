#include "infrastructure/outcome_store.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"

#include <algorithm>

namespace tidings {
namespace {

constexpr std::ptrdiff_t shortest_run = 8;

class SqliteOutcomeStore final : public OutcomeStore {
 public:
  explicit SqliteOutcomeStore(SqliteDatabase& database) : OutcomeStore(database) {}

 private:
  int write_published(Iterator begin, Iterator end, bool delete_published) override;
  int write_run(Iterator begin, Iterator end, bool delete_published);
  std::int64_t write_between(const Outcome& first, const Outcome& last, bool delete_published);
  int write_one(const Outcome& outcome, bool delete_published);
  bool is_at_its_position(const Outcome& outcome);
};

int SqliteOutcomeStore::write_published(Iterator begin, Iterator end, bool delete_published) {
  int published = 0;
  while (begin != end) {
    const auto gap = std::adjacent_find(begin, end, [](const Outcome& one, const Outcome& next) {
      return next.position.row != one.position.row + 1;
    });
    const auto end_of_run = gap == end ? end : gap + 1;
    published += write_run(begin, end_of_run, delete_published);
    begin = end_of_run;
  }
  return published;
}

/// Rows whose positions follow each other without a gap: one statement instead of thousands.
int SqliteOutcomeStore::write_run(Iterator begin, Iterator end, bool delete_published) {
  const auto last = end - 1;
  int published = 0;
  // VACUUM may have renumbered rows. It keeps their order, so when both ends are where they were, everything
  // between them is.
  if (end - begin >= shortest_run && is_at_its_position(*begin) && is_at_its_position(*last)) {
    const auto changed = write_between(*begin, *last, delete_published);
    if (!delete_published) published = static_cast<int>(changed);
    // Fewer when some were retries, which are not PENDING: then each by itself, by its own rule. The last
    // always is: it may be the table's newest, which must not be deleted.
    if (changed == last - begin) begin = last;
  }
  std::for_each(begin, end, [&](const auto& one) { published += write_one(one, delete_published); });
  return published;
}

/// The PENDING rows from `first` on and before `last`. NOT INDEXED: by the index on status these two would
/// walk through everything that is pending.
std::int64_t SqliteOutcomeStore::write_between(const Outcome& first, const Outcome& last,
                                               bool delete_published) {
  const std::string rows = " WHERE rowid >= $1 AND rowid < $2 AND status = 'PENDING'";
  if (delete_published)
    return database_
        .exec("DELETE FROM outbox_event NOT INDEXED" + rows, first.position.row, last.position.row)
        .affected;
  return database_
      .exec(R"sql(
          UPDATE outbox_event NOT INDEXED
          SET status = 'PUBLISHED', publishedAt = $3, processedAt = $3, updatedAt = $3, lastError = NULL)sql" +
                rows,
            first.position.row, last.position.row, to_iso8601(last.at))
      .affected;
}

/// By the id, whatever its position is now. Returns how many rows have become PUBLISHED.
int SqliteOutcomeStore::write_one(const Outcome& outcome, bool delete_published) {
  const std::string row = " WHERE id = $1" + not_settled;
  if (delete_published &&
      database_
              .exec("DELETE FROM outbox_event" + row + " AND rowid < (SELECT max(rowid) FROM outbox_event)",
                    outcome.id)
              .affected > 0)
    return 0;
  const auto updated = database_.exec(R"sql(
      UPDATE outbox_event
      SET status = 'PUBLISHED', publishedAt = $2, processedAt = $2, updatedAt = $2, lastError = NULL)sql" +
                                          row,
                                      outcome.id, to_iso8601(outcome.at));
  return static_cast<int>(updated.affected);
}

bool SqliteOutcomeStore::is_at_its_position(const Outcome& outcome) {
  return !database_
              .exec("SELECT 1 FROM outbox_event WHERE rowid = $1 AND id = $2", outcome.position.row,
                    outcome.id)
              .empty();
}

}  // namespace

std::unique_ptr<OutcomeStore> SqliteDatabase::outcomes() {
  return std::make_unique<SqliteOutcomeStore>(*this);
}

}  // namespace tidings
