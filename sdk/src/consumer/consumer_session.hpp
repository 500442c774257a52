#pragma once

// One run of a consumer, from connecting to drained: takes messages, has them
// handled, and settles them once the inbox has committed.

#include "consumer/concurrent_handling.hpp"
#include "consumer/consumer_meters.hpp"
#include "consumer/dead_letter.hpp"
#include "consumer/group.hpp"
#include "consumer/handling.hpp"
#include "consumer/puller.hpp"
#include "inbox/inbox.hpp"

#include <tidings/consumer_options.hpp>
#include <tidings/consumer_status.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tidings {

struct ConsumerContext {
  ConsumerContext(Inbox& its_inbox, ConsumerOptions its_options)
      : inbox(its_inbox), options(std::move(its_options)) {}

  void set_status(ConsumerStatus::State state, const std::string& reason = {});
  [[nodiscard]] ConsumerStatus status() const;

  Inbox& inbox;
  const ConsumerOptions options;
  Handlers handlers;
  std::atomic<bool> running{false};
  ConsumerMeters meters;

 private:
  mutable std::mutex mutex_;
  ConsumerStatus status_{.since = std::chrono::system_clock::now()};
};

class ConsumerSession {
 public:
  /// Connects. Throws NatsError when that cannot work, or when stopped before it did.
  ConsumerSession(ConsumerContext& state, const std::stop_token& stop);

  /// Until stopped or idle for too long.
  void work();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool join();
  [[nodiscard]] bool join_again(std::chrono::milliseconds delay);
  [[nodiscard]] bool idle_for_too_long() const;
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] std::chrono::milliseconds next_wait();
  void show_status();
  void handle(std::vector<StreamMessagePtr> batch);
  void bring_in_order(std::vector<StreamMessagePtr>& batch);
  void handle_together();
  void handle_alone(StreamMessagePtr received);
  void handle_concurrently(StreamMessagePtr received);
  void step();
  void leave_to_others();
  void settle(std::vector<ConcurrentHandling::Settled> settlements);
  void settle(StreamMessagePtr received, const Settlement& settlement);
  void dead_letter(StreamMessagePtr received, const Settlement& settlement);
  void defer_dead_letter(StreamMessagePtr received);
  void tell_failure(const Delivery& delivery, const Settlement& settlement);
  void prune_if_due();
  void drain();
  void drain_workers(Clock::time_point deadline);
  void committed(std::size_t messages);

  /// Calls `work` until it ends without a retryable error, once at least. False when stopped first.
  [[nodiscard]] bool persist(const char* what, const std::function<void()>& work);
  [[nodiscard]] std::string with_refusal(const Error& error) const;

  ConsumerContext& state_;
  const ConsumerOptions& options_;
  std::stop_token stop_;
  Connection connection_;
  DeadLetters dead_letters_;
  Handling handling_;
  std::optional<Group> group_;
  std::optional<Puller> source_;
  std::vector<StreamMessagePtr> first_;        // the batch at hand: messages that were never delivered before
  std::vector<Delivery*> deliveries_;          // theirs
  std::vector<StreamMessagePtr> not_started_;  // at a stop: given back once the server sends us no more
  // In concurrent mode, by ticket.
  std::unordered_map<ConcurrentHandling::Ticket, StreamMessagePtr> submitted_;
  ConcurrentHandling::Ticket next_ticket_ = 0;
  std::optional<ConcurrentHandling> concurrent_;
  Clock::time_point last_message_;
  Clock::time_point prune_again_{};
  // Dead letters that meet silence: when one may be tried again, and how long to wait after the next.
  static constexpr std::chrono::milliseconds first_dead_letter_pause{1000};
  Clock::time_point dead_letter_again_{};
  std::chrono::milliseconds dead_letter_pause_ = first_dead_letter_pause;
};

}  // namespace tidings
