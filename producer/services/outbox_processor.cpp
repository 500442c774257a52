#include "services/outbox_processor.hpp"

#include "domain/event_id.hpp"
#include "infrastructure/commit_watch.hpp"
#include "infrastructure/lease.hpp"
#include "infrastructure/outbox_repository.hpp"
#include "services/lane_scheduler.hpp"
#include "services/outbox_marker.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Phase = OutboxProcessorStatus::Phase;

namespace {

constexpr int refill_rows = 64;
constexpr int retries_page = 1000;
constexpr std::size_t most_marks_waiting = 20000;
constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{5000};
constexpr milliseconds look_at_deadlines{250};
constexpr milliseconds stop_takes_at_most{5000};

}  // namespace

const char* to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::standby:
      return "standby";
    case Phase::active:
      return "active";
    case Phase::waiting_for_broker:
      return "waiting for broker";
    case Phase::waiting_for_database:
      return "waiting for database";
    case Phase::stopped:
      return "stopped";
  }
  return "unknown";
}

struct OutboxProcessor::State {
  State(std::string path, Connection& its_connection, OutboxProcessorOptions its_options)
      : database_path(std::move(path)),
        connection(its_connection),
        options(std::move(its_options)),
        watch(database_path) {}

  const std::string database_path;
  Connection& connection;
  const OutboxProcessorOptions options;
  CommitWatch watch;

  std::atomic<bool> reconnected{false};
  std::atomic<Phase> phase{Phase::starting};
  std::atomic<std::uint64_t> published{0}, refused{0}, dead_lettered{0};
  std::atomic<std::size_t> in_flight{0}, blocked{0};

  /// One log line for each change of state.
  void enter(Phase next, const std::string& why = {}) {
    if (phase.exchange(next) == next) return;
    const auto level = next == Phase::waiting_for_broker || next == Phase::waiting_for_database
                           ? spdlog::level::warn
                           : spdlog::level::info;
    spdlog::log(level, "outbox processor {}{}{}", to_string(next), why.empty() ? "" : ": ", why);
  }
};

namespace {

/// The time during which this process holds the lease.
class Active {
 public:
  Active(OutboxProcessor::State& state, Database& reading, Database& writing, Lease& lease)
      : state_(state),
        options_(state.options),
        outbox_(reading),
        marker_(writing, lease,
                {.renew_interval = options_.lease / 3,
                 .cleanup_interval = options_.cleanup_interval,
                 .retention = options_.retention,
                 .clock = options_.clock},
                [&state] { state.watch.wake(); }),
        publisher_(state.connection, options_.publisher, [&state] { state.watch.wake(); }),
        scheduler_(static_cast<std::size_t>(options_.batch_size)) {}

  /// Returns when stopped, drained, or when the lease is lost. Throws DatabaseError from reading.
  void operator()(const std::stop_token& stop) {
    load();
    while (!stop.stop_requested() && !marker_.lost()) {
      take_outcomes();
      bool progress = false;
      if (may_publish()) {
        progress = read_rows() || progress;
        progress = send() || progress;
      }
      if (drained()) return;
      if (!progress) wait();
    }
    if (!marker_.lost()) finish();
  }

  [[nodiscard]] bool drained() {
    return options_.drain && scheduler_.idle() && scheduler_.blocked() == 0 && !more_rows_ &&
           marker_.waiting() == 0 && outbox_.pending_range().count == 0;
  }

 private:
  /// What is FAILED or PROCESSING blocks its aggregate; a PROCESSING row is a retry that its
  /// processor did not see the end of, and is due at once.
  void load() {
    std::int64_t after = 0;
    for (;;) {
      const auto rows = outbox_.read_retries(after, retries_page);
      for (const auto& row : rows) scheduler_.block(row, retry_time(row));
      if (rows.size() < static_cast<std::size_t>(retries_page)) break;
      after = rows.back().position;
    }
    rewind();
  }

  [[nodiscard]] Timestamp retry_time(const OutboxEvent& row) const {
    if (row.status == OutboxStatus::processing) return options_.clock();
    return row.updated_at + options_.backoff.delay(row.retry_count, row.id);
  }

  /// Starts over from the oldest PENDING row. Only when all marks are written.
  void rewind() {
    const auto range = outbox_.pending_range();
    scheduler_.forget_left_behind();
    if (range.count > 0) cursor_ = range.first - 1;
    more_rows_ = range.count > 0;
    looked_for_strays_ = steady_clock::now();
  }

  void take_outcomes() {
    outcomes_.clear();
    publisher_.collect(outcomes_);
    for (auto& outcome : outcomes_) take(outcome);
    marker_.add(marks_);
    state_.in_flight = scheduler_.in_flight();
    state_.blocked = scheduler_.blocked();
  }

  void take(PublishOutcome& outcome) {
    switch (outcome.kind) {
      case PublishOutcome::Kind::stored:
        pause_ = first_pause;
        state_.enter(Phase::active);
        if (auto event = scheduler_.stored(outcome.token)) {
          ++state_.published;
          mark(std::move(*event), OutboxStatus::published, {});
        }
        break;
      case PublishOutcome::Kind::refused:
        refuse(outcome);
        break;
      case PublishOutcome::Kind::unchained:
        scheduler_.returned(outcome.token);
        break;
      case PublishOutcome::Kind::trouble:
        scheduler_.returned(outcome.token);
        scheduler_.probe();
        back_off(outcome.error);
        break;
    }
  }

  void refuse(PublishOutcome& outcome) {
    const auto time = options_.clock();
    auto event =
        scheduler_.refused(outcome.token, [&](const OutboxEvent& refused) -> std::optional<Timestamp> {
          if (refused.retry_count >= options_.max_retries) return std::nullopt;
          return time + options_.backoff.delay(refused.retry_count, refused.id);
        });
    if (!event) return;
    ++state_.refused;
    const bool dead = event->retry_count >= options_.max_retries;
    if (dead) ++state_.dead_lettered;
    spdlog::warn("{} id={} attempt={} reason=\"{}\"", dead ? "dead letter" : "refused", event->id,
                 event->retry_count, outcome.error);
    mark(std::move(*event), dead ? OutboxStatus::dead_letter : OutboxStatus::failed,
         std::move(outcome.error));
  }

  void mark(OutboxEvent event, OutboxStatus status, std::string error) {
    marks_.push_back({.position = event.position,
                      .id = std::move(event.id),
                      .status = status,
                      .retry_count = event.retry_count,
                      .error = std::move(error),
                      .at = options_.clock()});
  }

  /// The broker's trouble uses up no attempt: wait, at most 5 s, or until it is back.
  void back_off(const std::string& why) {
    if (steady_clock::now() < pause_until_) return;
    state_.enter(Phase::waiting_for_broker, why);
    pause_until_ = steady_clock::now() + pause_;
    pause_ = std::min(pause_ * 2, longest_pause);
    stream_checked_ = false;
  }

  [[nodiscard]] bool may_publish() {
    if (state_.reconnected.exchange(false)) {
      pause_until_ = {};
      pause_ = first_pause;
    }
    if (!state_.connection.connected()) {
      state_.connection.require_open();
      state_.enter(Phase::waiting_for_broker, "not connected");
      return false;
    }
    if (steady_clock::now() < pause_until_) return false;
    if (marker_.in_trouble() || !marker_.fresh()) {
      state_.enter(Phase::waiting_for_database);
      return false;
    }
    return stream_is_there();
  }

  /// Before the first event, and after each trouble: the stream may have been deleted.
  [[nodiscard]] bool stream_is_there() {
    if (!stream_checked_ && options_.manage_stream) {
      try {
        ensure_stream(state_.connection, {.name = options_.publisher.stream,
                                          .subjects = {options_.publisher.subject_prefix + ".>"}});
      } catch (const NatsError& error) {
        if (!error.retryable()) throw;
        back_off(error.what());
        return false;
      }
    }
    stream_checked_ = true;
    // After a failed publish, only the next stored event tells that the trouble is over.
    if (!scheduler_.probing()) state_.enter(Phase::active);
    return true;
  }

  bool read_rows() {
    bool progress = false;
    while (scheduler_.room() > 0 && marker_.waiting() < most_marks_waiting) {
      const auto request = scheduler_.next_refill(options_.clock());
      if (!request) break;
      refill(*request);
      progress = true;
    }
    // In pages: a query for each place that an answer frees would cost more than the rows.
    const auto page = std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_size) / 4);
    if (more_rows_ && scheduler_.room() >= page && marker_.waiting() < most_marks_waiting) {
      const auto wanted = static_cast<int>(scheduler_.room());
      outbox_.read_pending(cursor_, wanted, rows_);
      more_rows_ = static_cast<int>(rows_.size()) == wanted;
      progress = progress || !rows_.empty();
      for (auto& row : rows_) {
        cursor_ = row.position;
        scheduler_.offer(std::move(row));
      }
    }
    return look_for_strays() || progress;
  }

  void refill(const LaneScheduler::Refill& request) {
    const int limit = request.retry ? 1 : std::min(refill_rows, static_cast<int>(scheduler_.room()));
    auto rows = outbox_.read_aggregate(request.aggregate_id, request.aggregate_type, request.after,
                                       std::max(cursor_, request.after + 1), limit);
    bool complete = static_cast<int>(rows.size()) < limit;
    // Another FAILED row of the aggregate (left by another implementation) waits for its own time.
    std::optional<OutboxEvent> failed;
    const auto time = options_.clock();
    for (std::size_t i = request.retry ? 1 : 0; i < rows.size(); ++i) {
      if (rows[i].status == OutboxStatus::pending || retry_time(rows[i]) <= time) continue;
      failed = rows[i];
      rows.resize(i);
      complete = false;
      break;
    }
    for (const auto& row : rows)
      if (row.status == OutboxStatus::failed) mark(row, OutboxStatus::processing, {});
    marker_.add(marks_);
    scheduler_.refill(request, std::move(rows), complete);
    if (failed) scheduler_.block(*failed, retry_time(*failed));
  }

  /// PENDING rows that the cursor has passed: set back by an operator, or written by someone who
  /// does not append. Cheap, and only when nothing is under way.
  bool look_for_strays() {
    if (more_rows_ || !scheduler_.idle() || marker_.waiting() > 0) return false;
    if (steady_clock::now() - looked_for_strays_ < options_.processing_interval) return false;
    looked_for_strays_ = steady_clock::now();
    if (outbox_.pending_range().count == scheduler_.left_behind()) return false;
    rewind();
    return true;
  }

  bool send() {
    bool sent = false;
    while (const auto next = scheduler_.next_send()) {
      publisher_.publish(next->token, *next->event, next->after);
      sent = true;
    }
    // nats.c flushes in the background after a millisecond; with nothing more to send, do it now.
    if (sent && !more_rows_) publisher_.flush();
    return sent;
  }

  void wait() {
    auto longest = options_.processing_interval;
    const auto at_most = [&longest](milliseconds limit) { longest = std::min(longest, limit); };
    if (publisher_.in_flight() > 0) at_most(look_at_deadlines);
    if (const auto retry = scheduler_.next_retry()) at_most(*retry - options_.clock());
    if (pause_until_ > steady_clock::now()) {
      longest = std::chrono::ceil<milliseconds>(pause_until_ - steady_clock::now());
    }
    const bool woken = state_.watch.wait(std::max(longest, milliseconds{1}));
    const bool poll_due = steady_clock::now() - polled_ >= options_.processing_interval;
    if (poll_due) polled_ = steady_clock::now();
    if (woken || poll_due) more_rows_ = true;
  }

  /// Stopped: what is in flight is confirmed and marked, so that the next holder need not send it again.
  void finish() {
    const auto deadline = steady_clock::now() + stop_takes_at_most;
    publisher_.flush();
    while (publisher_.in_flight() > 0 && steady_clock::now() < deadline && state_.connection.connected()) {
      state_.watch.wait(milliseconds{20});
      take_outcomes();
    }
    take_outcomes();
  }

  OutboxProcessor::State& state_;
  const OutboxProcessorOptions& options_;
  OutboxRepository outbox_;
  OutboxMarker marker_;
  EventPublisher publisher_;
  LaneScheduler scheduler_;

  std::int64_t cursor_ = 0;  // position of the last row offered
  bool more_rows_ = true;    // there may be rows past the cursor
  std::vector<OutboxEvent> rows_;
  std::vector<PublishOutcome> outcomes_;
  std::vector<OutboxMark> marks_;
  steady_clock::time_point polled_ = steady_clock::now();
  steady_clock::time_point looked_for_strays_{};
  steady_clock::time_point pause_until_{};
  milliseconds pause_ = first_pause;
  bool stream_checked_ = false;
};

/// Works until stopped, drained or dispossessed, and hands the lease back. True when drained.
bool hold(OutboxProcessor::State& state, Database& reading, Database& writing, Lease& lease,
          const std::stop_token& stop) {
  bool drained = false;
  try {
    Active active{state, reading, writing, lease};
    active(stop);
    drained = active.drained();
  } catch (const NatsError&) {
    lease.release(writing);
    throw;
  }
  lease.release(writing);
  return drained;
}

std::string holder_name() { return std::to_string(getpid()) + "-" + new_event_id(); }

}  // namespace

OutboxProcessor::OutboxProcessor(std::string database_path, Connection& connection,
                                 OutboxProcessorOptions options)
    : state_(std::make_unique<State>(std::move(database_path), connection, std::move(options))) {
  connection.observe([state = state_.get()](bool connected) {
    if (connected) state->reconnected = true;
    state->watch.wake();
  });
}

OutboxProcessor::~OutboxProcessor() { state_->connection.observe({}); }

void OutboxProcessor::run(const std::stop_token& stop) {
  auto& state = *state_;
  const std::stop_callback wake{stop, [&state] { state.watch.wake(); }};
  Lease lease{{.name = "outbox", .holder = holder_name(), .duration = state.options.lease}};
  while (!stop.stop_requested()) {
    try {
      Database reading{state.database_path};
      Database writing{state.database_path};
      OutboxRepository outbox{reading};
      while (!stop.stop_requested() && !lease.try_take(writing)) {
        state.enter(Phase::standby);
        if (state.options.drain && outbox.pending_range().count == 0 && outbox.read_retries(0, 1).empty())
          break;
        state.watch.wait(std::max(state.options.lease / 8, milliseconds{20}));
      }
      if (!lease.held()) break;
      const bool drained = hold(state, reading, writing, lease, stop);
      if (drained) break;
    } catch (const DatabaseError& error) {
      if (!error.retryable()) throw;
      state.enter(Phase::waiting_for_database, error.what());
      state.watch.wait(longest_pause / 5);
    }
  }
  state.enter(Phase::stopped);
}

void OutboxProcessor::notify() noexcept { state_->watch.wake(); }

OutboxProcessorStatus OutboxProcessor::status() const {
  const auto& state = *state_;
  return {.phase = state.phase,
          .published = state.published,
          .refused = state.refused,
          .dead_lettered = state.dead_lettered,
          .in_flight = state.in_flight,
          .blocked_aggregates = state.blocked};
}

}  // namespace tidings
