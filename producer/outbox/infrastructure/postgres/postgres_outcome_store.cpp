#include "infrastructure/postgres/postgres_outcome_store.hpp"

#include "event/valid_utf8.hpp"

#include <algorithm>

namespace tidings {
namespace {

const std::string not_settled = R"sql( AND status IN ('PENDING', 'PROCESSING', 'FAILED'))sql";

/// The ids as an array of texts in PostgreSQL's notation.
template <class Iterator>
std::string ids_of(Iterator begin, Iterator end) {
  std::string array = "{";
  for (auto outcome = begin; outcome != end; ++outcome) {
    array += outcome == begin ? "\"" : ",\"";
    for (const char letter : outcome->id) {
      if (letter == '"' || letter == '\\') array += '\\';
      array += letter;
    }
    array += '"';
  }
  return array + "}";
}

}  // namespace

int PostgresOutcomeStore::write(Transaction& transaction, const std::vector<Outcome>& outcomes,
                                bool delete_published) {
  database_.require_own(transaction);
  return attempt("write back what became of events", [&] {
    int published = 0;
    for (auto outcome = outcomes.begin(); outcome != outcomes.end();) {
      const auto end = std::find_if(outcome, outcomes.end(),
                                    [](const Outcome& one) { return one.status != RowStatus::published; });
      if (end == outcome) {
        write_one(*outcome++);
        continue;
      }
      published += write_published(outcome, end, delete_published);
      outcome = end;
    }
    return published;
  });
}

int PostgresOutcomeStore::write_published(Iterator begin, Iterator end, bool delete_published) {
  const auto ids = ids_of(begin, end);
  if (delete_published) {
    database_.query("DELETE FROM outbox_event WHERE id = ANY($1::text[])" + not_settled, ids);
    return 0;
  }
  const auto rows = database_.query(R"sql(
      UPDATE outbox_event
      SET status = 'PUBLISHED', "publishedAt" = $2::timestamp, "processedAt" = $2::timestamp,
          "updatedAt" = $2::timestamp, "lastError" = NULL
      WHERE id = ANY($1::text[]))sql" + not_settled,
                                    ids, to_iso8601((end - 1)->at));
  return static_cast<int>(rows.affected());
}

void PostgresOutcomeStore::write_one(const Outcome& outcome) {
  const auto at = to_iso8601(outcome.at);
  switch (outcome.status) {
    case RowStatus::published:
      break;  // written in runs
    case RowStatus::failed:
      database_.query(R"sql(
          UPDATE outbox_event
          SET status = 'FAILED', "retryCount" = $3, "lastError" = $4, "updatedAt" = $2::timestamp
          WHERE id = $1)sql" +
                          not_settled,
                      outcome.id, at, outcome.retry_count, valid_utf8(outcome.short_error()));
      break;
    case RowStatus::dead_letter:
      database_.query(R"sql(
          UPDATE outbox_event
          SET status = 'DEAD_LETTER', "retryCount" = $3, "lastError" = $4,
              "processedAt" = $2::timestamp, "updatedAt" = $2::timestamp
          WHERE id = $1)sql" +
                          not_settled,
                      outcome.id, at, outcome.retry_count, valid_utf8(outcome.short_error()));
      break;
    case RowStatus::pending:
      database_.query(R"sql(
          UPDATE outbox_event SET status = 'PENDING', "updatedAt" = $2::timestamp WHERE id = $1)sql" +
                          not_settled,
                      outcome.id, at);
      break;
    case RowStatus::processing:
      // updatedAt stays: it says when the last attempt failed, and backoff is counted from there.
      database_.query("UPDATE outbox_event SET status = 'PROCESSING' WHERE id = $1" + not_settled,
                      outcome.id);
      break;
  }
}

}  // namespace tidings
