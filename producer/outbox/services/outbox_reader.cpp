#include "services/outbox_reader.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace tidings {

OutboxReader::OutboxReader(OutboxRepository& outbox, const OutboxProcessorOptions& options,
                           PublishScheduler& scheduler, RetrySchedule& retries, OutcomeWriter& writer,
                           CommitWatch& watch)
    : outbox_(outbox),
      options_(options),
      scheduler_(scheduler),
      retries_(retries),
      writer_(writer),
      watch_(watch) {}

void OutboxReader::rewind() {
  scheduler_.forget_left_behind();
  may_have_more_ = outbox_.rewind();
  looked_for_strays_ = Clock::now();
}

bool OutboxReader::read() {
  bool progress = false;
  while (has_room(1)) {
    const auto request = scheduler_.next_refill(retries_.now());
    if (!request) break;
    refill(*request);
    progress = true;
  }
  progress = read_pending() || progress;
  return find_strays() || progress;
}

bool OutboxReader::has_room(std::size_t rows) const {
  constexpr std::size_t most_outcomes_waiting = 20000;
  return scheduler_.room() >= rows && writer_.waiting() < most_outcomes_waiting;
}

bool OutboxReader::read_pending() {
  // In pages: a query for each place that an answer frees would cost more than the rows.
  const auto page = std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_size) / 4);
  if (!may_have_more_ || !has_room(page)) return false;
  const auto wanted = static_cast<int>(scheduler_.room());
  outbox_.read_pending(wanted, rows_);
  may_have_more_ = static_cast<int>(rows_.size()) >= wanted;
  if (rows_.empty()) return false;
  watch_.found();
  for (auto& row : rows_) scheduler_.offer(std::move(row));
  return true;
}

const OutboxEvent& OutboxReader::whole(const OutboxEvent& event, std::int64_t max_payload) {
  constexpr std::int64_t headers = std::int64_t{64} * 1024;  // at most, for the metadata
  if (event.data_is_read) return event;
  whole_ = event;
  const auto bytes = outbox_.read_data(whole_, max_payload + headers);
  if (!bytes)
    whole_.defect = "its row is gone";
  else if (*bytes > max_payload + headers)
    whole_.defect = "eventData: has " + std::to_string(*bytes) +
                    " bytes, larger than the server takes (max_payload " + std::to_string(max_payload) +
                    " bytes)";
  return whole_;
}

void OutboxReader::refill(PublishScheduler::Refill request) {
  const int limit =
      request.retry ? 1 : std::min(outbox_.rows_of_aggregate_at_once(), static_cast<int>(scheduler_.room()));
  auto rows = outbox_.read_aggregate({.aggregate_id = request.aggregate_id,
                                      .aggregate_type = request.aggregate_type,
                                      .after = request.after,
                                      .with_first = request.retry,
                                      .settled_beside = request.settled_beside},
                                     limit);
  // Where an operator has settled the head meanwhile, what comes next has attempts and a time of its own.
  const auto is_head = [&after = request.after](const OutboxEvent& row) {
    return row.position.row == after.row && row.position.id == after.id;
  };
  request.retry = request.retry && !rows.empty() && is_head(rows.front());
  bool complete = static_cast<int>(rows.size()) < limit;
  // Another FAILED row of the aggregate (left by another implementation) waits for its own time, as does a
  // head that another has written meanwhile.
  const auto early = std::ranges::find_if(rows, [&](const auto& row) {
    return row.status != RowStatus::pending && due(row, request) > retries_.now();
  });
  if (early != rows.end()) {
    scheduler_.block(*early, due(*early, request), retries_.look_again(*early));
    rows.erase(early, rows.end());
    complete = false;
  }
  std::vector<Outcome> retried;
  for (const auto& row : rows)
    if (row.status == RowStatus::failed)
      retried.push_back({.position = row.position,
                         .id = row.id,
                         .status = RowStatus::processing,
                         .retry_count = row.retry_count,
                         .error = {},
                         .at = options_.clock()});
  writer_.add(retried);
  scheduler_.refill(request, std::move(rows), complete);
}

/// What this processor knows of the head holds until another program writes it, whatever the table shows yet.
Timestamp OutboxReader::due(const OutboxEvent& row, const PublishScheduler::Refill& request) {
  const bool is_known =
      request.retry && row.position == request.after && row.updated_at <= request.updated_at;
  return is_known ? request.due : retries_.due(row);
}

/// PENDING rows that the cursor has passed: set back by an operator, or written by a program that does not
/// append. Cheap, and only when nothing is in flight or waiting.
bool OutboxReader::find_strays() {
  if (may_have_more_ || !scheduler_.idle() || writer_.waiting() > 0) return false;
  if (Clock::now() - looked_for_strays_ < options_.processing_interval) return false;
  looked_for_strays_ = Clock::now();
  if (outbox_.count_pending() == scheduler_.left_behind()) return false;
  rewind();
  return true;
}

}  // namespace tidings
