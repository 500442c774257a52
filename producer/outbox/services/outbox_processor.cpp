#include "infrastructure/commit_watch.hpp"
#include "infrastructure/lease.hpp"
#include "nats/leader_advisories.hpp"
#include "services/relay_session.hpp"
#include "services/retry_pause.hpp"
#include "services/shared_processor_status.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/uuid.hpp>

#include <unistd.h>

#include <atomic>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using Phase = ProcessorStatus::Phase;

namespace {

constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{1000};
// A lease that was handed back is free at once: a standby asks this often, whatever is committed meanwhile.
constexpr milliseconds standby_interval{100};

std::string holder_name() { return std::to_string(getpid()) + "-" + new_uuid(); }

}  // namespace

struct OutboxProcessor::State {
  State(std::string url, Connection& its_connection, OutboxProcessorOptions its_options)
      : database_url(std::move(url)),
        connection(its_connection),
        options(std::move(its_options)),
        watch(CommitWatch::open(database_url)) {}

  /// Stands by until the lease is held; false when stopped, or drained by another.
  bool take(Lease& lease, Database& database, const std::stop_token& stop);
  /// Works until stopped, drained or without the lease, which it releases. True when drained.
  bool hold(Lease& lease, Database& reading, Database& writing, const std::stop_token& stop);

  const std::string database_url;
  Connection& connection;
  const OutboxProcessorOptions options;
  std::unique_ptr<CommitWatch> watch;
  SharedProcessorStatus status;
  std::atomic<bool> reconnected{false};
  std::atomic<bool> new_leader{false};
  std::atomic<bool> notified{false};
  LeaderAdvisories leaders{connection, options.publisher.stream, {}, [this] {
                             new_leader = true;
                             watch->wake();
                           }};
};

OutboxProcessor::OutboxProcessor(std::string database_url, Connection& connection,
                                 OutboxProcessorOptions options)
    : state_(std::make_unique<State>(std::move(database_url), connection, std::move(options))) {
  state_->options.validate();
  connection.observe([state = state_.get()](bool connected) {
    if (connected) state->reconnected = true;
    state->watch->wake();
  });
}

OutboxProcessor::~OutboxProcessor() { state_->connection.observe({}); }

void OutboxProcessor::run(const std::stop_token& stop) {
  auto& state = *state_;
  const std::stop_callback wake{stop, [&state] { state.watch->wake(); }};
  Lease lease{{.name = "outbox", .holder = holder_name(), .duration = state.options.lease}};
  RetryPause pause{first_pause, longest_pause};
  while (!stop.stop_requested()) {
    try {
      const auto reading = Database::open(state.database_url, Database::Open::processor);
      const auto writing = Database::open(state.database_url, Database::Open::processor);
      if (!state.take(lease, *writing, stop)) break;
      if (state.hold(lease, *reading, *writing, stop)) break;
      pause.reset();
    } catch (const DatabaseError& error) {
      if (!error.retryable()) throw;
      state.status.enter(Phase::waiting_for_database, error.what());
      state.watch->sleep(pause.next());
    }
  }
  state.status.enter(Phase::stopped);
}

bool OutboxProcessor::State::take(Lease& lease, Database& database, const std::stop_token& stop) {
  const auto outbox = database.outbox();
  while (!lease.try_take(database)) {
    status.enter(Phase::standby);
    if (options.drain && outbox->count_pending() == 0 && outbox->read_retries({}, 1).empty()) return false;
    watch->sleep(std::min(options.lease / 8, standby_interval));
    if (stop.stop_requested()) return false;
  }
  return true;
}

bool OutboxProcessor::State::hold(Lease& lease, Database& reading, Database& writing,
                                  const std::stop_token& stop) {
  bool drained = false;
  try {
    RelaySession session{
        {connection, options, *watch, status, reconnected, new_leader, notified}, reading, writing, lease};
    session.run(stop);
    drained = session.drained();
  } catch (const NatsError&) {
    lease.release(writing);
    throw;
  }
  lease.release(writing);
  return drained;
}

void OutboxProcessor::notify() noexcept {
  state_->notified = true;
  state_->watch->wake();
}

ProcessorStatus OutboxProcessor::status() const { return state_->status.read(); }

}  // namespace tidings
