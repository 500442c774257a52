#include "infrastructure/lease.hpp"
#include "nats/leader_advisories.hpp"
#include "retry_loop.hpp"
#include "services/relay_session.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/uuid.hpp>

#include <unistd.h>

#include <utility>

namespace tidings {

using Phase = ProcessorStatus::Phase;

namespace {

// A lease that was handed back is free at once: a standby asks this often, whatever is committed meanwhile.
constexpr std::chrono::milliseconds standby_interval{100};

}  // namespace

struct OutboxProcessor::State {
  State(std::string url, Connection& connection, OutboxProcessorOptions options)
      : database_url(std::move(url)),
        context{connection, std::move(options), CommitWatch::open(database_url)} {}

  /// Holds the lease once, if it gets it. True when there is nothing left to do: stopped, or drained.
  bool hold_lease(Lease& lease, const std::stop_token& stop);
  /// Stands by until the lease is held; false when stopped, or drained by another.
  bool take(Lease& lease, Database& database, const std::stop_token& stop);

  const std::string database_url;
  RelayContext context;
  LeaderAdvisories leaders{context.connection, context.options.publisher.stream, {}, [this] {
                             context.new_leader = true;
                             context.watch->wake();
                           }};
};

OutboxProcessor::OutboxProcessor(std::string database_url, Connection& connection,
                                 OutboxProcessorOptions options)
    : state_(std::make_unique<State>(std::move(database_url), connection, std::move(options))) {
  state_->context.options.validate();
  connection.observe([&context = state_->context](bool connected) {
    if (connected) context.reconnected = true;
    context.watch->wake();
  });
}

OutboxProcessor::~OutboxProcessor() { state_->context.connection.observe({}); }

void OutboxProcessor::run(const std::stop_token& stop) {
  auto& context = state_->context;
  const std::stop_callback wake{stop, [&context] { context.watch->wake(); }};
  Lease lease{std::to_string(getpid()) + "-" + new_uuid(), context.options.lease};
  bool done = false;
  const auto work = [&] {
    while (!done) done = state_->hold_lease(lease, stop);
  };
  const auto failed = [&context](const Error& error) {
    context.status.enter(Phase::waiting_for_database, error.what());
  };
  (void)retry(stop, work, failed);
  context.status.enter(Phase::stopped);
}

bool OutboxProcessor::State::hold_lease(Lease& lease, const std::stop_token& stop) {
  const auto reading = Database::open(database_url, Database::Open::processor);
  const auto writing = Database::open(database_url, Database::Open::processor);
  if (!take(lease, *writing, stop)) return true;
  bool drained = false;
  try {
    drained = RelaySession{context, *reading, *writing, lease}.run(stop);
  } catch (const NatsError& error) {
    lease.release(*writing);
    throw NatsError(error.what());  // not retryable: the session itself waits for what may pass
  }
  lease.release(*writing);
  return drained || stop.stop_requested();
}

bool OutboxProcessor::State::take(Lease& lease, Database& database, const std::stop_token& stop) {
  const auto outbox = database.outbox();
  const auto& options = context.options;
  while (!stop.stop_requested()) {
    if (lease.try_take(database)) return true;
    context.status.enter(Phase::standby);
    if (options.drain && outbox->count_pending() == 0 && outbox->read_retries({}, 1).empty()) return false;
    context.watch->sleep(std::min(options.lease / 8, standby_interval));
  }
  return false;
}

void OutboxProcessor::notify() noexcept {
  state_->context.notified = true;
  state_->context.watch->wake();
}

ProcessorStatus OutboxProcessor::status() const { return state_->context.status.read(); }

}  // namespace tidings
