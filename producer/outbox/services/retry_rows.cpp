#include "services/retry_rows.hpp"

#include <algorithm>
#include <cstddef>

namespace tidings {
namespace {

constexpr int page = 1000;

}  // namespace

RetryRows::RetryRows(OutboxRepository& outbox, const OutboxProcessorOptions& options,
                     PublishScheduler& scheduler, RetrySchedule& retries, const OutcomeWriter& writer)
    : outbox_(outbox), options_(options), scheduler_(scheduler), retries_(retries), writer_(writer) {}

void RetryRows::load() {
  OutboxPosition after;
  for (;;) {
    const auto rows = outbox_.read_retries(after, page);
    for (const auto& row : rows) scheduler_.block(row, retries_.due(row), retries_.look_again(row));
    if (rows.size() < static_cast<std::size_t>(page)) break;
    after = rows.back().position;
  }
  look_at_ = Clock::now() + options_.processing_interval;
}

void RetryRows::look_if_due() {
  constexpr int share = 50;
  if (Clock::now() < look_at_) return;
  if (writer_.retries_wait()) return;  // the table does not show yet what became of our own
  if (looked_up_to_ == OutboxPosition{}) look_begun_ = Clock::now();
  const auto rows = outbox_.read_retries(looked_up_to_, page);
  for (const auto& row : rows) scheduler_.notice(row, retries_.due(row), retries_.look_again(row));
  if (rows.size() == static_cast<std::size_t>(page)) {
    looked_up_to_ = rows.back().position;
    return;
  }
  looked_up_to_ = {};
  const auto now = Clock::now();
  look_at_ = now + std::max<Clock::duration>(options_.processing_interval, (now - look_begun_) * share);
}

}  // namespace tidings
