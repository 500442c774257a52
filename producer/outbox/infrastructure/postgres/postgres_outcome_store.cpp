#include "infrastructure/postgres/postgres_outcome_store.hpp"

#include "event/valid_utf8.hpp"

#include <algorithm>

namespace tidings {
namespace {

/// What a mark may still change.
const std::string if_not_settled = " AND status IN ('PENDING', 'PROCESSING', 'FAILED')";

/// As PostgreSQL writes an array of texts.
template <class Iterator>
std::string ids_of(Iterator begin, Iterator end) {
  std::string array = "{";
  for (auto mark = begin; mark != end; ++mark) {
    array += mark == begin ? "\"" : ",\"";
    for (const char letter : mark->id) {
      if (letter == '"' || letter == '\\') array += '\\';
      array += letter;
    }
    array += '"';
  }
  return array + "}";
}

}  // namespace

int PostgresOutcomeStore::write(Transaction& transaction, const std::vector<Outcome>& marks,
                                bool delete_published) {
  database_.require_own(transaction);
  return attempt("write back what became of events", [&] {
    int published = 0;
    for (auto mark = marks.begin(); mark != marks.end();) {
      const auto end = std::find_if(mark, marks.end(),
                                    [](const Outcome& one) { return one.status != RowStatus::published; });
      if (end == mark) {
        write_one(*mark++);
        continue;
      }
      published += write_published(mark, end, delete_published);
      mark = end;
    }
    return published;
  });
}

int PostgresOutcomeStore::write_published(Marks begin, Marks end, bool delete_published) {
  const auto ids = ids_of(begin, end);
  if (delete_published) {
    database_.query("DELETE FROM outbox_event WHERE id = ANY($1::text[])" + if_not_settled, ids);
    return 0;
  }
  return static_cast<int>(database_
                              .query("UPDATE outbox_event SET status = 'PUBLISHED', \"publishedAt\" = "
                                     "$2::timestamp, \"processedAt\" = "
                                     "$2::timestamp, \"updatedAt\" = $2::timestamp, \"lastError\" = NULL "
                                     "WHERE id = ANY($1::text[])" +
                                         if_not_settled,
                                     ids, to_iso8601((end - 1)->at))
                              .affected());
}

void PostgresOutcomeStore::write_one(const Outcome& mark) {
  const auto at = to_iso8601(mark.at);
  switch (mark.status) {
    case RowStatus::published:
      break;  // written in runs
    case RowStatus::failed:
      database_.query(
          "UPDATE outbox_event SET status = 'FAILED', \"retryCount\" = $3, \"lastError\" = $4, \"updatedAt\" "
          "= "
          "$2::timestamp WHERE id = $1" +
              if_not_settled,
          mark.id, at, mark.retry_count, valid_utf8(mark.short_error()));
      break;
    case RowStatus::dead_letter:
      database_.query(
          "UPDATE outbox_event SET status = 'DEAD_LETTER', \"retryCount\" = $3, \"lastError\" = $4, "
          "\"processedAt\" = $2::timestamp, \"updatedAt\" = $2::timestamp WHERE id = $1" +
              if_not_settled,
          mark.id, at, mark.retry_count, valid_utf8(mark.short_error()));
      break;
    case RowStatus::pending:
      database_.query(
          "UPDATE outbox_event SET status = 'PENDING', \"updatedAt\" = $2::timestamp WHERE id = $1" +
              if_not_settled,
          mark.id, at);
      break;
    case RowStatus::processing:
      // updatedAt stays: it says when the last attempt failed, and backoff is counted from there.
      database_.query("UPDATE outbox_event SET status = 'PROCESSING' WHERE id = $1" + if_not_settled,
                      mark.id);
      break;
  }
}

}  // namespace tidings
