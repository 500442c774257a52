#include "database/crash_losses.hpp"
#include "infrastructure/lease.hpp"
#include "infrastructure/outcome.hpp"
#include "infrastructure/partition_record.hpp"
#include "nats/leader_advisories.hpp"
#include "nats/partition.hpp"
#include "retry_loop.hpp"
#include "services/processor_report.hpp"
#include "services/relay_session.hpp"
#include "services/stop_deadline.hpp"
#include "services/waiting_notice.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/uuid.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

namespace tidings {

using Phase = ProcessorStatus::Phase;

namespace {

// A lease that was handed back is free at once: a standby asks this often, whatever is committed meanwhile.
constexpr std::chrono::milliseconds standby_interval{100};

// After a stop; then nobody waits for an answer of the database any more.
constexpr std::chrono::seconds database_may_take{5};
// The outcomes of rows that are locked wait apart from the others, so this need not be long.
constexpr std::chrono::milliseconds marks_wait_for_locks{200};
constexpr std::chrono::milliseconds shortest_session{200};
constexpr std::chrono::seconds migration_takes_at_most{10};

/// Others may still have the old file open, and its WAL is in the way of the new one: so it is not opened
/// here.
void require_kept(Database& database) {
  if (const auto why = database.lost(); !why.empty())
    throw DatabaseError("the outbox is lost: " + why +
                        ". Start the relay again, and stop it before its file is changed");
}

}  // namespace

struct OutboxProcessor::State {
  State(std::string url, Connection& connection, OutboxProcessorOptions options)
      : database_url(std::move(url)),
        context{connection, std::move(options), CommitWatch::open(database_url)} {}

  /// Holds the lease once, if it gets it. True when there is nothing left to do: stopped, or drained.
  bool relay_once(Lease& lease, const std::stop_token& stop);
  void tell(Lease& lease, Database& database);
  void tell_crash_losses(Database& database);
  /// A migration may drop the table and make it anew, in several commits: for a while after it was read, an
  /// error that waiting does not mend is one that may pass.
  bool relay_through_migrations(Lease& lease, const std::stop_token& stop);
  /// Stands by until the lease is held; false when stopped, or drained by another.
  bool take(Lease& lease, Database& database, const std::stop_token& stop);

  const std::string database_url;
  RelayContext context;
  bool crash_losses_told = false;
  std::optional<std::chrono::steady_clock::time_point> interrupted{};  // reading, which had gone well
  Connection::Observation changes = context.connection.observe([this](bool connected) {
    if (connected) context.reconnected = true;
    context.watch->wake();
  });
  LeaderAdvisories leaders{context.connection, context.options.publisher.stream, {}, [this] {
                             context.new_leader = true;
                             context.watch->wake();
                           }};
};

std::unique_ptr<Connection> OutboxProcessor::connect(const std::string& database_url,
                                                     ConnectionOptions options, const std::stop_token& stop,
                                                     const std::function<void(const Error&)>& failed) {
  WaitingNotice notice{database_url};
  const auto tell = [&](const Error& error) {
    if (failed) failed(error);
    notice.tell(error.what());
  };
  return std::make_unique<Connection>(std::move(options), stop, tell);
}

OutboxProcessor::OutboxProcessor(std::string database_url, Connection& connection,
                                 OutboxProcessorOptions options) {
  options.validate();
  state_ = std::make_unique<State>(std::move(database_url), connection, std::move(options));
}

OutboxProcessor::~OutboxProcessor() = default;

void OutboxProcessor::run(const std::stop_token& stop) {
  auto& context = state_->context;
  const std::stop_callback wake{stop, [&context] { context.watch->wake(); }};
  Lease lease{std::to_string(getpid()) + "-" + new_uuid(), context.options.lease};
  bool done = false;
  const auto work = [&] {
    while (!done) done = state_->relay_through_migrations(lease, stop);
  };
  const auto failed = [&context](const Error& error) {
    context.status.reading.rest();
    context.status.enter(Phase::waiting_for_database, error.what());
  };
  (void)retry(stop, work, failed);
  context.status.reading.rest();
  context.status.enter(Phase::stopped);
}

bool OutboxProcessor::State::relay_through_migrations(Lease& lease, const std::stop_token& stop) {
  try {
    return relay_once(lease, stop);
  } catch (const DatabaseError& error) {
    if (error.retryable() || !interrupted ||
        std::chrono::steady_clock::now() - *interrupted > migration_takes_at_most)
      throw;
    throw DatabaseError(error.what(), Error::Retry::yes);
  }
}

bool OutboxProcessor::State::relay_once(Lease& lease, const std::stop_token& stop) {
  context.status.reading.step();
  const auto reading = Database::open(database_url, Database::Open::processor);
  const auto writing = Database::open(database_url, Database::Open::processor);
  const StopDeadline deadline{stop, database_may_take, [&] {
                                reading->give_up();
                                writing->give_up();
                                context.watch->give_up();
                              }};
  if (!take(lease, *writing, stop)) return true;
  tell_crash_losses(*writing);
  tell(lease, *writing);  // a right that is missing for it would keep the lease from being renewed
  writing->wait_for_locks(marks_wait_for_locks);
  bool drained = false;
  const auto begun = std::chrono::steady_clock::now();
  try {
    drained = RelaySession{context, *reading, *writing, lease}.run(stop);
  } catch (const DatabaseError& error) {
    if (!writing->lost().empty()) interrupted.reset();  // a file that is lost stays so
    require_kept(*writing);
    if (context.status.read().phase != Phase::waiting_for_database)
      interrupted = std::chrono::steady_clock::now();
    // An administrator has ended the session that reads, say. The lease is ours: begin anew at once, but not
    // in a loop.
    if (!error.retryable() || std::chrono::steady_clock::now() - begun < shortest_session) throw;
    context.status.database_fails(error.what());
    return stop.stop_requested();
  } catch (const NatsError& error) {
    context.status.enter(Phase::stopped, error.what());
    tell(lease, *writing);
    lease.release(*writing);
    throw NatsError(error.what());  // not retryable: the session itself waits for what may pass
  }
  interrupted.reset();  // a file that is lost stays so
  require_kept(*writing);
  lease.release(*writing);
  return drained || stop.stop_requested();
}

/// Once.
void OutboxProcessor::State::tell_crash_losses(Database& database) {
  if (database.kind() == Database::Kind::sqlite || crash_losses_told) return;
  const auto rows = database.exec(crash_losses_of("'outbox_event'"));
  crash_losses_told = true;
  for (std::size_t row = 0; row < rows.size(); ++row)
    spdlog::warn("outbox: {}, and events are lost then; {}", rows.text(row, 0), rows.text(row, 1));
}

/// For those who ask why nothing comes out.
void OutboxProcessor::State::tell(Lease& lease, Database& database) {
  const auto partitions = context.options.publisher.partitions;
  std::optional<int> before;
  database.transact([&](Transaction& transaction) {
    if (!lease.renew(transaction)) return;
    before = note_partitions(transaction, partitions);
    write_processor_record(transaction, context.status.read(), 0);
  });
  if (before.value_or(partitions) != partitions)
    spdlog::warn(
        "OUTBOX_PARTITIONS={}, and this outbox was published with {} before: the order of what a group still has "
        "pending from then is not kept (`tidings doctor` says whether one has); {}",
        partitions, *before, how_to_change_partitions);
}

bool OutboxProcessor::State::take(Lease& lease, Database& database, const std::stop_token& stop) {
  const auto outbox = database.outbox();
  const auto& options = context.options;
  while (!stop.stop_requested()) {
    context.status.reading.step();
    require_kept(database);
    if (lease.try_take(database)) return true;
    context.status.enter(Phase::standby);
    context.status.update_figures([](auto& figures) { figures.oldest_pending.reset(); });
    if (options.drain && outbox->count_pending() == 0 && outbox->read_retries({}, 1).empty()) return false;
    context.status.reading.rest();
    context.watch->sleep(std::min(options.lease / 8, standby_interval));
  }
  return false;
}

void OutboxProcessor::notify() noexcept {
  state_->context.notified = true;
  state_->context.watch->wake();
}

ProcessorStatus OutboxProcessor::status() const { return state_->context.status.read(); }

MonitorReport OutboxProcessor::report(const HealthLimits& limits) const {
  const auto& status = state_->context.status;
  auto figures = status.figures();
  figures.connected = state_->context.connection.connected();
  return report_of(status.read(), figures, limits);
}

}  // namespace tidings
