#pragma once

// Writes back what became of events, on a thread and connection of its own, so
// that publishing does not wait for the disk. Every write is fenced by the lease,
// which it renews, and updates the processor's record; between writes it cleans up.

#include "infrastructure/lease.hpp"
#include "infrastructure/outcome.hpp"
#include "services/shared_processor_status.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace tidings {

class OutcomeWriter {
 public:
  /// Takes over `database` and the held `lease` until it is destroyed. `on_change` is called from
  /// the writer's thread when outcomes are written or something goes wrong; it must only wake.
  OutcomeWriter(Database& database, Lease& lease, SharedProcessorStatus& status,
                const OutboxProcessorOptions& options, std::function<void()> on_change);

  /// Writes what is waiting, unless the lease or the database is lost, then ends.
  ~OutcomeWriter();

  // Thread-safe.

  /// Takes what is in `outcomes`, and leaves it empty.
  void add(std::vector<Outcome>& outcomes);
  /// Writes the status soon, instead of with the next outcomes.
  void report();
  /// How many outcomes are not committed yet.
  [[nodiscard]] std::size_t waiting() const;
  /// Whether some of these are of events that have failed before, or now: their rows may be FAILED or
  /// PROCESSING still.
  [[nodiscard]] bool retries_wait() const;
  /// Another processor holds the lease, or the database is lost: stop at once.
  [[nodiscard]] bool lost() const noexcept { return state_ == State::lost; }
  /// The lease is certainly ours right now.
  [[nodiscard]] bool fresh() const noexcept {
    return BootClock::now().time_since_epoch().count() < fresh_until_;
  }
  /// The database cannot be written at the moment.
  [[nodiscard]] bool failing() const noexcept { return state_ == State::failing; }
  /// Why not, or for how long it has not answered; empty while all is well.
  [[nodiscard]] std::string reason() const;

 private:
  enum class State { writing, failing, lost };
  /// What is written in one transaction, and kept until that is committed. Outcomes of rows that others have
  /// locked stay in it, in front of what comes later.
  struct Batch {
    std::vector<Outcome> outcomes;
    bool report = false;
  };

  void run(const std::stop_token& stop);
  void give_up();
  [[nodiscard]] bool take(Batch& batch, const std::stop_token& stop);
  void write(Batch& batch);
  void write_all(Batch& batch);
  void write_unlocked(Batch& batch);
  [[nodiscard]] ProcessorStatus record() const;
  void tell_locked(std::string why);
  void renew();
  void clean_up_if_due();
  void clean_up();
  template <class Work>
  std::chrono::steady_clock::time_point write_fenced(Work&& work);
  std::chrono::steady_clock::time_point committed();
  void set_reason(std::string why);

  Database& database_;
  Lease& lease_;
  SharedProcessorStatus& status_;
  const OutboxProcessorOptions& options_;
  std::function<void()> on_change_;
  std::unique_ptr<OutboxRepository> outbox_;

  mutable std::mutex mutex_;
  std::condition_variable_any work_;
  std::vector<Outcome> outcomes_;  // under mutex
  std::size_t writing_ = 0;        // under mutex
  bool writing_retries_ = false;   // under mutex
  bool report_ = true;             // under mutex
  std::string reason_;             // under mutex

  std::atomic<BootClock::rep> fresh_until_;
  std::atomic<State> state_{State::writing};
  bool skip_locked_ = false;
  bool cleanup_failed_ = false;

  std::chrono::steady_clock::time_point renew_at_;
  std::chrono::steady_clock::time_point clean_up_at_;
  int cleanup_step_ = 100;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace tidings
