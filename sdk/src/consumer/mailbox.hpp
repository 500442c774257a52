#pragma once

// Between nats.c's delivery threads, which decode and fill it, and the consumer's thread, which empties it.

#include "consumer/in_flight.hpp"
#include "consumer/stream_message.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace tidings {

struct Mailbox {
  /// `in_flight` counts what is at hand and not settled.
  Mailbox(natsConnection* its_connection, std::chrono::milliseconds ack_wait, std::string prefix,
          std::atomic<std::uint64_t>& in_flight, InFlight::MayExtend may_extend);

  // Handlers of subscriptions, whose closure is the mailbox.
  static void deliver(natsConnection*, natsSubscription*, natsMsg* raw, void* closure);  ///< of the group
  static void answer(natsConnection*, natsSubscription*, natsMsg* message, void* closure);

  void put(std::vector<MessagePtr>& place, MessagePtr message);
  void tell_of_new_leader();
  void wake();
  [[nodiscard]] bool empty();

  natsConnection* const connection;
  const std::string subject_prefix;
  InFlight at_hand;
  std::vector<StreamMessagePtr> own_spare;  // of the thread that delivers

  std::mutex mutex;  // of all that follows
  std::condition_variable_any arrived;
  std::vector<StreamMessagePtr> messages, spare;
  std::vector<MessagePtr> notices, states;
  bool woken = false, new_leader = false;
};

}  // namespace tidings
