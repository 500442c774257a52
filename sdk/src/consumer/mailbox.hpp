#pragma once

// Between nats.c's delivery threads, which decode and fill it, and the consumer's thread, which empties it.

#include "consumer/in_flight.hpp"
#include "consumer/stream_message.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

namespace tidings {

/// What has come in.
struct Mail {
  std::vector<StreamMessagePtr> messages;
  std::vector<MessagePtr> statuses;  ///< of pulls
  std::vector<MessagePtr> states;    ///< of the group, as it was asked for
  bool new_leader = false;
  bool woken = false;

  /// Keeps the vectors' memory.
  void clear();
};

class Mailbox {
 public:
  /// `count` is kept at the number of messages that are here and not settled.
  Mailbox(natsConnection* connection, std::chrono::milliseconds ack_wait, std::string subject_prefix,
          std::atomic<std::uint64_t>& count, InFlight::MayExtend may_extend);

  // Handlers of subscriptions, whose closure is the mailbox.
  static void deliver(natsConnection*, natsSubscription*, natsMsg* raw, void* closure);
  static void deliver_state(natsConnection*, natsSubscription*, natsMsg* raw, void* closure);

  /// Called by the delivering thread, once a second at most, when a message has come again that is still
  /// here.
  void on_lapse(std::function<void()> action);

  void tell_of_new_leader();
  /// Ends the running collect(), or else the next.
  void wake();

  enum class Until { anything, anything_but_messages };
  /// Waits until there is something, or `deadline`, or a stop, and fills the empty `mail` with it. Messages
  /// count as something only when `until` says so, but are handed out all the same.
  void collect(Mail& mail, Until until, std::chrono::steady_clock::time_point deadline,
               const std::stop_token& stop);
  [[nodiscard]] bool has_messages_or_statuses();

  /// Settled messages, whose memory is used again.
  void reuse(std::vector<StreamMessagePtr>& spare);

  /// Nobody empties it any more, and messages that still come are dropped.
  void close();

  InFlight in_flight;

 private:
  void notice_lapses();
  template <class Change>
  void update(Change&& change);

  natsConnection* const connection_;
  const std::string subject_prefix_;
  // Used by the delivering thread alone.
  std::vector<StreamMessagePtr> own_spare_;
  std::uint64_t last_consumer_sequence_ = 0;
  std::uint64_t lapses_ = 0;
  std::chrono::steady_clock::time_point next_lapse_{};

  std::mutex mutex_;  // guards all that follows
  std::condition_variable_any arrived_;
  bool closed_ = false;
  Mail mail_;
  std::vector<StreamMessagePtr> spare_;
  std::function<void()> on_lapse_;
};

}  // namespace tidings
