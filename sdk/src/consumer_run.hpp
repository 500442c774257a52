#pragma once

// One run of a consumer, from connecting to drained: takes messages, has them
// handled, and settles them once the inbox has committed.

#include "dead_letter.hpp"
#include "group.hpp"
#include "handling.hpp"
#include "message_source.hpp"

#include <tidings/consumer.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

namespace tidings {

struct ConsumerEngine::State {
  State(Inbox& its_inbox, ConsumerOptions its_options) : inbox(its_inbox), options(std::move(its_options)) {}

  Inbox& inbox;
  const ConsumerOptions options;
  Handling::Handlers handlers;
  std::atomic<bool> running{false};

  std::atomic<std::uint64_t> received{0}, handled{0}, duplicates{0}, retried{0}, held_back{0},
      dead_lettered{0}, ignored{0}, commits{0};
};

class ConsumerRun {
 public:
  /// Connects. Throws NatsError when that cannot work, or when stopped before it did.
  ConsumerRun(ConsumerEngine::State& state, const std::stop_token& stop);

  /// Until stopped or idle for too long.
  void work();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool join();
  [[nodiscard]] bool join_again(std::chrono::milliseconds delay);
  [[nodiscard]] bool idle_for_too_long() const;
  [[nodiscard]] std::chrono::milliseconds next_wait() const;
  void handle(std::vector<Received> batch);
  [[nodiscard]] Delivery describe(const Received& received);
  void handle_together();
  void handle_alone(Received received, Delivery delivery);
  void settle(Received received, Delivery delivery, const Verdict& verdict);
  void bury(Received received, const Delivery& delivery, const Verdict& verdict);
  void prune_if_due();

  ConsumerEngine::State& state_;
  const ConsumerOptions& options_;
  std::stop_token stop_;
  Connection connection_;
  DeadLetters dead_letters_;
  Handling handling_;
  std::optional<Group> group_;
  // The batch at hand: of messages that were never delivered before, each with its delivery.
  std::vector<Received> first_;
  std::vector<Delivery> deliveries_;
  std::vector<Delivery> spare_;        // used again for their memory
  std::vector<Received> not_started_;  // at a stop: given back once the server sends us no more
  Clock::time_point last_message_;
  Clock::time_point prune_again_{};
};

}  // namespace tidings
