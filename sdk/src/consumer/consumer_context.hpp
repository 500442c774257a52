#pragma once

// What a consumer has from its start to its end, over all of its sessions: its options and handlers, what it
// counts, and what it says of itself.

#include "consumer/group.hpp"
#include "consumer/handlers.hpp"
#include "consumer/hook.hpp"
#include "consumer/percentiles.hpp"
#include "consumer/run_control.hpp"
#include "consumer/type_counts.hpp"
#include "inbox/inbox.hpp"
#include "loop_pulse.hpp"

#include <tidings/consumer_options.hpp>
#include <tidings/consumer_status.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace tidings {

/// For ConsumerStats. Written by the consumer's threads, read by any.
struct ConsumerMeters {
  using Count = std::atomic<std::uint64_t>;
  Count received{0}, handled{0}, duplicates{0}, retried{0}, unavailable{0}, paused{0}, held_back{0},
      dead_lettered{0}, ignored{0}, fenced{0}, commits{0}, last_commit_size{0};
  std::atomic<std::chrono::system_clock::rep> last_commit{0};  ///< 0: none yet
  TypeCounts by_type;
  GroupGauges group;
  Percentiles handling;  ///< of each handler
  Percentiles age;       ///< of each event when its effects are committed
};

/// Set by the consumer's session, read by any thread.
class SharedStatus {
 public:
  /// `changed` is called at each change, by the thread that sets it.
  explicit SharedStatus(std::function<void(const ConsumerStatus&)> changed)
      : changed_("on_status", std::move(changed)) {}

  void set(ConsumerStatus::State state, const std::string& reason = {}) {
    ConsumerStatus changed;
    {
      const std::lock_guard lock{mutex_};
      if (status_.state == state && status_.reason == reason) return;
      changed = status_ = {state, reason, std::chrono::system_clock::now()};
    }
    changed_(changed);
  }
  [[nodiscard]] ConsumerStatus get() const {
    const std::lock_guard lock{mutex_};
    return status_;
  }

  /// What the consumer's thread is in for long, told by another; empty for nothing.
  void hold_up(std::string by) {
    const std::lock_guard lock{mutex_};
    held_up_by_ = std::move(by);
  }
  [[nodiscard]] std::string held_up_by() const {
    const std::lock_guard lock{mutex_};
    return held_up_by_;
  }

 private:
  const Hook<const ConsumerStatus&> changed_;
  mutable std::mutex mutex_;
  ConsumerStatus status_{.since = std::chrono::system_clock::now()};  // under mutex, as is the next
  std::string held_up_by_;
};

struct ConsumerContext {
  ConsumerContext(Inbox& its_inbox, ConsumerOptions its_options, Connection* its_connection)
      : inbox(its_inbox),
        shared_connection(its_connection),
        options(std::move(its_options)),
        on_start("on_start", options.on_start),
        on_success("on_success", options.on_success),
        on_failure("on_failure", options.on_failure),
        status(options.on_status) {}

  Inbox& inbox;
  Connection* const shared_connection;  ///< none: each session makes one of its own
  const ConsumerOptions options;
  Handlers handlers;
  std::atomic<bool> running{false};
  RunControl control;
  ConsumerMeters meters;
  const Hook<const Delivery&> on_start;
  const Hook<const Success&> on_success;
  const Hook<const Failure&> on_failure;
  SharedStatus status;
  LoopPulse pulse;    ///< of the session, but where it waits for messages or for NATS
  LoopPulse nats;     ///< of the session, where it waits for NATS to confirm what it has sent
  LoopPulse handler;  ///< of the handler that has run longest, as last seen
  std::atomic<std::size_t> overdue_handlers{0};  ///< that hold a worker, and nobody waits for any more
};

}  // namespace tidings
