#pragma once

// The owner's side of Order::strict: between what the group hands out and the handlers. Nothing starts before
// all that was handed out earlier is here; then events go on in the order of the stream.

#include "consumer/consumer_context.hpp"
#include "consumer/hold_queue.hpp"
#include "consumer/key_order.hpp"
#include "consumer/outage_wait.hpp"
#include "consumer/puller.hpp"
#include "consumer/settlement.hpp"
#include "consumer/stream_message.hpp"
#include "consumer/take_over_gate.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace tidings {

/// Belongs to the session's thread.
class StrictOrder {
 public:
  using Clock = std::chrono::steady_clock;

  StrictOrder(ConsumerContext& context, Puller& puller, KeyOrder& key_order, OutageWait& outage);

  /// Waits for messages as Puller::take(), and returns up to `max` that may be handled, in order; and what
  /// needs no handler, at once.
  [[nodiscard]] std::vector<StreamMessagePtr> take(std::size_t max, std::chrono::milliseconds wait,
                                                   const std::stop_token& stop);
  /// It is handled again here, after its delay; later ones of its key wait.
  void put_back(StreamMessagePtr message, const Settlement& settlement);
  /// Its dead letter could not be stored yet: nobody waits for it.
  void put_aside(StreamMessagePtr message, std::chrono::milliseconds delay);

  /// What is here and not in a handler, in order.
  [[nodiscard]] std::vector<StreamMessagePtr> take_all();
  /// The group was joined again: what is here may be another durable's.
  void begin_anew();

  /// Something waits here, or elsewhere for its AckWait.
  [[nodiscard]] bool busy() const noexcept { return !messages_.empty() || !gate_.open(); }
  /// What keeps events from being handled; empty when nothing does.
  [[nodiscard]] std::string waiting_for() const;

 private:
  void add(StreamMessagePtr message);
  [[nodiscard]] bool needs_no_handler(const StreamMessage& message);
  void drop_all();
  void keep(StreamMessagePtr message, const std::string& key, Clock::time_point due);
  void look_at_gate();
  [[nodiscard]] std::chrono::milliseconds longest_wait(std::size_t max, std::chrono::milliseconds wait) const;
  [[nodiscard]] std::vector<StreamMessagePtr> in_order(const std::vector<std::uint64_t>& sequences);

  ConsumerContext& context_;
  Puller& puller_;
  KeyOrder& key_order_;
  OutageWait& outage_;
  TakeOverGate gate_{Clock::now()};
  HoldQueue queue_;
  std::unordered_map<std::uint64_t, StreamMessagePtr> messages_;  // in queue_, by sequence
  std::vector<StreamMessagePtr> passing_;  // that came while the gate was closed, and need no handler
  // Looked up in the inbox, where nobody else can commit anything now: they wait for their handlers.
  std::unordered_set<std::uint64_t> unsettled_;
  Clock::time_point added_{};  // when a message was added last
  bool more_ready_ = false;    // what may be handled now was not all taken
  std::uint64_t disturbances_ = 0;
  std::uint64_t gaps_ = 0;  // that were told of
  Clock::time_point pull_again_{}, ask_again_{};
};

}  // namespace tidings
