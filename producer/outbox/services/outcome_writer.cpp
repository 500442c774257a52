#include "services/outcome_writer.hpp"

#include <tidings/processor_record.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{1000};

// A transaction keeps the service's writers waiting. The size of a cleanup follows the time it takes.
constexpr std::size_t most_marks_at_once = 2000;
constexpr std::size_t enough_marks = 200;
constexpr milliseconds marks_gather{5};
constexpr milliseconds cleanup_takes_at_most{8};
constexpr int smallest_cleanup = 10;
constexpr int largest_cleanup = 1000;

}  // namespace

OutcomeWriter::OutcomeWriter(Database& database, Lease& lease, SharedProcessorStatus& status, Options options,
                             std::function<void()> on_change)
    : database_(database),
      lease_(lease),
      status_(status),
      options_(std::move(options)),
      on_change_(std::move(on_change)),
      outbox_(database.outbox()),
      rows_(database.outcomes()),
      fresh_until_(lease.fresh_until().time_since_epoch().count()),
      renew_at_(steady_clock::now() + options_.renew_interval),
      clean_up_at_(steady_clock::now()),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

OutcomeWriter::~OutcomeWriter() {
  thread_.request_stop();
  thread_.join();
}

void OutcomeWriter::add(std::vector<Outcome>& marks) {
  if (marks.empty()) return;
  {
    const std::lock_guard lock{mutex_};
    std::move(marks.begin(), marks.end(), std::back_inserter(marks_));
  }
  marks.clear();
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
  return marks_.size() + writing_;
}

bool OutcomeWriter::fresh() const noexcept {
  return BootClock::now().time_since_epoch().count() < fresh_until_.load();
}

void OutcomeWriter::run(const std::stop_token& stop) {
  std::vector<Outcome> marks;  // stay here until they are committed
  milliseconds delay = first_pause;
  bool report = false;
  while (!lost_) {
    if (marks.empty()) {
      const bool work = wait_for_work(stop);
      const std::lock_guard lock{mutex_};
      const auto taken =
          marks_.begin() + static_cast<std::ptrdiff_t>(std::min(marks_.size(), most_marks_at_once));
      marks.assign(std::move_iterator{marks_.begin()}, std::move_iterator{taken});
      marks_.erase(marks_.begin(), taken);
      writing_ = marks.size();
      report = std::exchange(report_, false) || report;
      if (!work && marks.empty()) return;  // stopped, and all is written
    }
    try {
      if (!marks.empty() || report || steady_clock::now() >= renew_at_) write(marks);
      report = false;
      if (lost_) break;
      marks.clear();
      {
        const std::lock_guard lock{mutex_};
        writing_ = 0;
      }
      if (!stop.stop_requested()) clean_up();
      if (trouble_.exchange(false)) spdlog::info("outbox database can be written again");
      delay = first_pause;
    } catch (const DatabaseError& error) {
      if (!trouble_.exchange(true)) spdlog::warn("outbox: {}; trying again", error.what());
      if (stop.stop_requested()) return;  // the next holder publishes again, and the stream knows the ids
      pause(stop, delay);
      delay = std::min(delay * 2, longest_pause);
    }
    on_change_();
  }
  spdlog::warn("outbox lease lost: another processor is active, or this is another database than before");
  on_change_();
}

/// False when stopped.
bool OutcomeWriter::wait_for_work(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  work_.wait_until(lock, stop, std::min(renew_at_, clean_up_at_),
                   [this] { return !marks_.empty() || report_; });
  // A commit each would cost the service's writers the lock, and the disk a sync, as often as their own.
  work_.wait_for(lock, stop, marks_gather, [this] { return marks_.size() >= enough_marks || report_; });
  return !stop.stop_requested();
}

void OutcomeWriter::write(const std::vector<Outcome>& marks) {
  write_fenced([&](Transaction& transaction) {
    return rows_->write(transaction, marks, options_.retention.count() == 0);
  });
  const auto oldest = outbox_->oldest_pending();
  status_.update([&](auto& status) { status.oldest_pending = oldest; });
}

/// One small step; the next follows at once, or after the marks that came meanwhile.
void OutcomeWriter::clean_up() {
  auto begun = steady_clock::now();
  if (begun < clean_up_at_) return;
  OutboxRepository::Cleanup done;
  const auto committed = write_fenced([&](Transaction& transaction) {
    begun = steady_clock::now();  // the wait for the lock is over
    done = outbox_->cleanup(transaction, options_.clock() - options_.retention, cleanup_step_);
    return -done.deleted;
  });
  if (lost_) return;
  const auto took = committed - begun;
  status_.update([&](auto& status) {
    status.longest_cleanup =
        std::max(status.longest_cleanup, std::chrono::duration_cast<std::chrono::microseconds>(took));
  });
  cleanup_step_ =
      std::clamp(took > cleanup_takes_at_most ? cleanup_step_ / 2 : cleanup_step_ + cleanup_step_ / 4 + 1,
                 smallest_cleanup, largest_cleanup);
  if (!done.more) clean_up_at_ = steady_clock::now() + options_.cleanup_interval;
}

/// `work` says by how much it changed the number of PUBLISHED rows. Nothing is written when the lease is
/// lost. Returns when the commit was done.
template <class Work>
steady_clock::time_point OutcomeWriter::write_fenced(Work&& work) {
  const auto status = status_.read();
  const ProcessorRecord state{.phase = to_string(status.phase),
                              .since = status.since,
                              .trouble = status.trouble,
                              .in_flight = static_cast<std::int64_t>(status.in_flight)};
  database_.transact([&](Transaction& transaction) {
    lost_ = !lease_.renew(transaction);
    if (lost_) return;
    const int published = work(transaction);
    write_state(transaction, state, published);
  });
  const auto committed = steady_clock::now();
  if (lost_) return committed;
  fresh_until_ = lease_.fresh_until().time_since_epoch().count();
  renew_at_ = steady_clock::now() + options_.renew_interval;
  database_.maintain();
  return committed;
}

void OutcomeWriter::pause(const std::stop_token& stop, milliseconds duration) {
  std::unique_lock lock{mutex_};
  work_.wait_for(lock, stop, duration, [] { return false; });
}

}  // namespace tidings
