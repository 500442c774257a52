#include "infrastructure/outcome_store.hpp"

#include "event/valid_utf8.hpp"

#include <algorithm>

namespace tidings {
namespace {

constexpr std::size_t longest_error = 1000;

bool is_published(const Outcome& outcome) { return outcome.status == RowStatus::published; }

}  // namespace

int OutcomeStore::write(Transaction& transaction, const std::vector<Outcome>& outcomes,
                        bool delete_published) {
  database_.require_own(transaction);
  return attempt("write back what became of events", [&] {
    int published = 0;
    for (auto outcome = outcomes.begin(); outcome != outcomes.end();) {
      const auto end = std::find_if_not(outcome, outcomes.end(), is_published);
      if (end != outcome) published += write_published(outcome, end, delete_published);
      outcome = std::find_if(end, outcomes.end(), is_published);
      std::for_each(end, outcome, [this](const Outcome& other) { write_other(other); });
    }
    return published;
  });
}

void OutcomeStore::write_other(const Outcome& outcome) {
  const std::string row = " WHERE id = $1" + not_settled;
  const auto at = to_iso8601(outcome.at);
  auto error = valid_utf8(outcome.error);
  cut_utf8(error, longest_error);
  switch (outcome.status) {
    case RowStatus::published:  // see write_published()
    case RowStatus::pending:    // not what becomes of an event
      break;
    case RowStatus::failed:
      database_.exec(R"sql(
          UPDATE outbox_event
          SET status = 'FAILED', "retryCount" = $2, "lastError" = $3, "updatedAt" = $4)sql" +
                         row,
                     outcome.id, outcome.retry_count, error, at);
      break;
    case RowStatus::dead_letter:
      database_.exec(R"sql(
          UPDATE outbox_event
          SET status = 'DEAD_LETTER', "retryCount" = $2, "lastError" = $3, "processedAt" = $4,
              "updatedAt" = $4)sql" +
                         row,
                     outcome.id, outcome.retry_count, error, at);
      break;
    case RowStatus::processing:
      // updatedAt stays: it says when the last attempt failed, and backoff is counted from there.
      database_.exec("UPDATE outbox_event SET status = 'PROCESSING'" + row, outcome.id);
      break;
  }
}

}  // namespace tidings
