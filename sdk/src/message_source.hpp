#pragma once

// Where messages come from: our own pull loop (ADR-37) on core NATS requests, or
// a push consumer's queue subscription. Fetching runs ahead of handling; what is
// at hand is kept alive with in-progress acks until it is settled.

#include "group.hpp"
#include "nats_handle.hpp"

#include <tidings/connection.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace tidings {

/// Filled by nats.c's delivery thread, emptied by the consumer's.
struct Mailbox;

/// A message at hand, kept alive on the server while it is. Settled exactly once, by one of the
/// rvalue verbs; one that is destroyed unsettled comes back after the group's AckWait.
class Received {
 public:
  Received(MessagePtr message, Mailbox& mailbox, Connection& connection);
  ~Received();
  Received(Received&&) noexcept = default;
  Received& operator=(Received&&) = delete;

  [[nodiscard]] natsMsg* native() const noexcept { return message_.get(); }
  [[nodiscard]] std::string_view reply() const noexcept { return natsMsg_GetReply(message_.get()); }

  void ack() && { settle("+ACK"); }
  /// Back to the group at once, or after `delay`.
  void give_back(std::chrono::milliseconds delay = {}) &&;
  /// Never again; only after its dead-letter copy is confirmed.
  void terminate() && { settle("+TERM"); }

 private:
  void settle(const std::string& verb);

  MessagePtr message_;
  Mailbox* mailbox_;
  Connection* connection_;
};

/// take() and stop() belong to one thread.
class MessageSource {
 public:
  MessageSource(Connection& connection, Group group, int prefetch);
  ~MessageSource();
  MessageSource(const MessageSource&) = delete;
  MessageSource& operator=(const MessageSource&) = delete;

  /// Waits for messages, at most for `wait`, and returns up to `max` of those at hand.
  [[nodiscard]] std::vector<Received> take(std::size_t max, std::chrono::milliseconds wait,
                                           const std::stop_token& stop);

  /// Given once when the server no longer knows the group's durable, or may not: join again after
  /// this long. Nothing is pulled before that.
  [[nodiscard]] std::optional<std::chrono::milliseconds> rejoin_after() noexcept {
    return std::exchange(rejoin_after_, std::nullopt);
  }

  /// No new messages; gives back to the group `not_started` and what was not taken.
  void stop(std::chrono::milliseconds timeout, std::vector<Received> not_started);

 private:
  void subscribe();
  void notice_reconnect();
  void pull_if_due();
  void request(int count);
  void on_status(natsMsg* message, std::string_view status);
  void expect_less(natsMsg* message);
  void pause_pulling(std::chrono::milliseconds delay);
  void end_subscription(std::chrono::milliseconds timeout);
  void keep_alive(const std::stop_token& stop);

  Connection& connection_;
  Group group_;
  int prefetch_;
  std::shared_ptr<Mailbox> mailbox_;
  natsSubscription* subscription_ = nullptr;  // kept by the connection until it is closed
  std::string inbox_;

  int requested_ = 0;  // asked for and neither taken nor written off
  std::uint64_t generation_;
  bool heard_ = false;                               // the durable has answered since we joined
  std::chrono::steady_clock::time_point last_sign_;  // of life: message, heartbeat or request
  std::chrono::steady_clock::time_point pull_again_{};
  std::optional<std::chrono::milliseconds> rejoin_after_;
  std::jthread heart_;
};

}  // namespace tidings
