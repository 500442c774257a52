#include "services/outcome_writer.hpp"

#include "retry_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

bool has_retries(const std::vector<Outcome>& outcomes) {
  return std::ranges::any_of(outcomes, [](const auto& outcome) {
    return outcome.status != RowStatus::published || outcome.retry_count > 0;
  });
}

}  // namespace

OutcomeWriter::OutcomeWriter(Database& database, Lease& lease, SharedProcessorStatus& status,
                             const OutboxProcessorOptions& options, std::function<void()> on_change)
    : database_(database),
      lease_(lease),
      status_(status),
      options_(options),
      on_change_(std::move(on_change)),
      outbox_(database.outbox()),
      fresh_until_(lease.fresh_until().time_since_epoch().count()),
      renew_at_(steady_clock::now() + options_.lease / 3),
      clean_up_at_(steady_clock::now()),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

OutcomeWriter::~OutcomeWriter() {
  thread_.request_stop();
  thread_.join();
  status_.writing.rest();
}

void OutcomeWriter::add(std::vector<Outcome>& outcomes) {
  if (outcomes.empty()) return;
  {
    const std::lock_guard lock{mutex_};
    std::move(outcomes.begin(), outcomes.end(), std::back_inserter(outcomes_));
  }
  outcomes.clear();
  work_.notify_one();
}

void OutcomeWriter::report() {
  {
    const std::lock_guard lock{mutex_};
    report_ = true;
  }
  work_.notify_one();
}

std::size_t OutcomeWriter::waiting() const {
  const std::lock_guard lock{mutex_};
  return outcomes_.size() + writing_;
}

bool OutcomeWriter::retries_wait() const {
  const std::lock_guard lock{mutex_};
  return writing_retries_ || has_retries(outcomes_);
}

std::string OutcomeWriter::reason() const {
  using std::chrono::seconds;
  {
    const std::lock_guard lock{mutex_};
    if (!reason_.empty()) return reason_;
  }
  const auto silent = std::chrono::ceil<seconds>(status_.writing.busy_for());
  if (silent == seconds{0}) return {};
  return "no answer for " + std::to_string(silent.count()) + " s: " + database_.name() +
         " hangs, or its commits wait for a disk or a standby";
}

void OutcomeWriter::set_reason(std::string why) {
  const std::lock_guard lock{mutex_};
  reason_ = std::move(why);
}

/// Unlike retry(), it goes on after any error of the database, until it is stopped or the lease is lost: it
/// repeats the same batch until that is written, while what comes meanwhile waits.
void OutcomeWriter::run(const std::stop_token& stop) {
  constexpr milliseconds first_pause{50}, longest_pause{1000};
  Batch batch;
  auto delay = first_pause;
  while (!lost()) {
    if (!failing() && !take(batch, stop)) return;
    try {
      write(batch);
      if (!lost() && !stop.stop_requested()) clean_up_if_due();
      if (lost()) break;
      set_reason({});
      state_ = State::writing;
      status_.database_works();
      delay = first_pause;
    } catch (const DatabaseError& error) {
      status_.writing.rest();  // it has answered
      if (lost()) break;
      if (!database_.lost().empty()) return give_up();
      set_reason(error.what());
      state_ = State::failing;
      status_.database_fails(error.what());
      if (stop.stop_requested()) return;  // the next holder publishes again, and the stream knows the ids
      // An SQLite file that is locked or full is so for everything.
      if (!error.retryable() || database_.kind() == Database::Kind::postgresql) renew();
      pause(stop, delay);
      delay = std::min({delay * 2, longest_pause, options_.lease / 8});
    }
    on_change_();
  }
  spdlog::warn("outbox lease lost: another processor is active, or this is another database than before");
  on_change_();
}

/// Nothing can be written any more: the processor says why.
void OutcomeWriter::give_up() {
  state_ = State::lost;
  on_change_();
}

/// Waits for something to write. False when stopped, and everything is written that can be.
bool OutcomeWriter::take(Batch& batch, const std::stop_token& stop) {
  constexpr std::size_t enough_outcomes = 200;
  constexpr milliseconds outcomes_gather{5}, locked_are_tried_after{200};
  constexpr std::size_t most_at_once = 2000;  // a transaction keeps the service's writers waiting
  auto until = std::min(renew_at_, clean_up_at_);
  if (!batch.outcomes.empty()) until = std::min(until, steady_clock::now() + locked_are_tried_after);
  std::unique_lock lock{mutex_};
  work_.wait_until(lock, stop, until, [this] { return !outcomes_.empty() || report_; });
  // Committed one by one, outcomes would take the lock from the service's writers, and sync, for each event.
  work_.wait_for(lock, stop, outcomes_gather,
                 [this] { return outcomes_.size() >= enough_outcomes || report_; });
  const auto count = static_cast<std::ptrdiff_t>(std::min(outcomes_.size(), most_at_once));
  const auto end = outcomes_.begin() + count;
  batch.outcomes.insert(batch.outcomes.end(), std::move_iterator{outcomes_.begin()}, std::move_iterator{end});
  outcomes_.erase(outcomes_.begin(), end);
  writing_ = batch.outcomes.size();
  writing_retries_ = has_retries(batch.outcomes);
  batch.report = std::exchange(report_, false) || batch.report;
  return !stop.stop_requested() || count > 0;
}

/// A row that others have locked holds up nothing but its own outcome. To look for locks costs as much as the
/// rest, so that is done only after something went wrong; a session that has ended is made again, too.
void OutcomeWriter::write(Batch& batch) {
  if (batch.outcomes.empty() && !batch.report && steady_clock::now() < renew_at_) return;
  try {
    skip_locked_ ? write_unlocked(batch) : write_all(batch);
  } catch (const DatabaseError& error) {
    if (skip_locked_ || !error.retryable() || database_.kind() == Database::Kind::sqlite) throw;
    skip_locked_ = true;
    write_unlocked(batch);
  }
  batch.report = false;
  const std::lock_guard lock{mutex_};
  writing_ = batch.outcomes.size();
  writing_retries_ = has_retries(batch.outcomes);
}

void OutcomeWriter::write_all(Batch& batch) {
  const bool delete_published = options_.retention.count() == 0;
  status_.writing.step();
  if (write_at_once(database_, lease_, batch.outcomes, record(), delete_published)) {
    if (!lease_.held()) state_ = State::lost;
    committed();
  } else {
    write_fenced([&](Transaction& transaction) {
      return write_outcomes(transaction, batch.outcomes, delete_published);
    });
  }
  batch.outcomes.clear();
}

/// Outcomes of rows that others have locked stay in the batch.
void OutcomeWriter::write_unlocked(Batch& batch) {
  std::vector<Outcome> locked, rest;
  std::string why;
  write_fenced([&](Transaction& transaction) {
    rest = batch.outcomes;
    locked = take_locked(transaction, rest, why);
    return write_outcomes(transaction, rest, options_.retention.count() == 0);
  });
  batch.outcomes = std::move(locked);
  skip_locked_ = !batch.outcomes.empty();
  tell_locked(std::move(why));
}

/// The status as it is to be written.
ProcessorStatus OutcomeWriter::record() const {
  auto status = status_.read();
  if (status.waiting_because.empty()) status.waiting_because = status.unmarked_because;
  return status;
}

void OutcomeWriter::tell_locked(std::string why) {
  bool begins = false, ends = false;
  status_.update([&](auto& status) {
    begins = status.unmarked_because.empty() && !why.empty();
    ends = why.empty() && !status.unmarked_because.empty();
    status.unmarked_because = why;
  });
  if (begins) spdlog::warn("outbox: {}", why);
  if (ends) spdlog::info("outbox: no row is locked any more");
  if (begins || ends) report();
}

/// While outcomes cannot be written: that is no reason for another processor to begin, which would send again
/// what they are about. It also tells what is wrong.
void OutcomeWriter::renew() {
  try {
    if (steady_clock::now() >= renew_at_) write_fenced([](Transaction&) { return 0; });
  } catch (const DatabaseError&) {
    status_.writing.rest();
    return;  // the next try to write tells
  }
}

/// Nothing depends on it, so what it meets (a lock) holds up nothing else.
void OutcomeWriter::clean_up_if_due() {
  constexpr milliseconds tries_again_after{5000};
  if (steady_clock::now() < clean_up_at_) return;
  try {
    clean_up();
    cleanup_failed_ = false;
  } catch (const DatabaseError& error) {
    if (!database_.lost().empty()) throw;
    clean_up_at_ = steady_clock::now() + std::min<milliseconds>(options_.cleanup_interval, tries_again_after);
    if (!std::exchange(cleanup_failed_, true)) spdlog::warn("outbox: {}; trying again later", error.what());
  }
}

/// One small step, whose size follows the time that it takes, for writers wait meanwhile. The next follows at
/// once, or after the outcomes that came meanwhile.
void OutcomeWriter::clean_up() {
  constexpr milliseconds takes_at_most{8};
  constexpr int smallest = 10, largest = 1000;
  auto begun = steady_clock::now();
  OutboxRepository::Cleanup done;
  const auto ended = write_fenced([&](Transaction& transaction) {
    begun = steady_clock::now();  // the wait for the lock is over
    done = outbox_->cleanup(transaction, options_.clock() - options_.retention, cleanup_step_);
    return -done.deleted;
  });
  if (lost()) return;
  const auto took = ended - begun;
  status_.update([&](auto& status) {
    status.longest_cleanup =
        std::max(status.longest_cleanup, std::chrono::duration_cast<std::chrono::microseconds>(took));
  });
  cleanup_step_ = std::clamp(took > takes_at_most ? cleanup_step_ / 2 : cleanup_step_ + cleanup_step_ / 4 + 1,
                             smallest, largest);
  if (!done.more) clean_up_at_ = steady_clock::now() + options_.cleanup_interval;
}

/// `work` says by how much it changed the number of PUBLISHED rows. Nothing is written when the lease is
/// lost. Returns when the commit was done.
template <class Work>
steady_clock::time_point OutcomeWriter::write_fenced(Work&& work) {
  const auto status = record();
  status_.writing.step();
  database_.transact([&](Transaction& transaction) {
    if (!lease_.renew(transaction)) {
      state_ = State::lost;
      return;
    }
    const int published = work(transaction);
    write_processor_record(transaction, status, published);
  });
  return committed();
}

steady_clock::time_point OutcomeWriter::committed() {
  const auto committed = steady_clock::now();
  status_.writing.rest();
  status_.update_figures([](auto& figures) { figures.last_write = now(); });
  if (lost()) return committed;
  fresh_until_ = lease_.fresh_until().time_since_epoch().count();
  renew_at_ = committed + options_.lease / 3;
  database_.maintain();
  return committed;
}

}  // namespace tidings
