#pragma once

// One run of a consumer: connects, joins the group, takes messages and has them handled
// and settled until it is stopped or idle, and then drains.

#include "consumer/batch_executor.hpp"
#include "consumer/concurrent_mode.hpp"
#include "consumer/consumer_context.hpp"
#include "consumer/dead_letter.hpp"
#include "consumer/event_stream.hpp"
#include "consumer/group.hpp"
#include "consumer/group_ownership.hpp"
#include "consumer/inbox_upkeep.hpp"
#include "consumer/key_order.hpp"
#include "consumer/outage_wait.hpp"
#include "consumer/puller.hpp"
#include "consumer/settler.hpp"
#include "consumer/strict_order.hpp"
#include "consumer/transactional_mode.hpp"
#include "consumer/type_filter.hpp"
#include "consumer/watchdog.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace tidings {

class ConsumerSession {
 public:
  /// Connects, unless it shares a connection. Throws NatsError when that cannot work, or when stopped before
  /// it did.
  ConsumerSession(ConsumerContext& context, const std::stop_token& stop);

  enum class End {
    stopped,
    idle,       ///< for too long
    taken_over  ///< by another instance of a strict group, or so it must be assumed
  };
  [[nodiscard]] End work();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool become_owner();
  [[nodiscard]] End work_until_end();
  [[nodiscard]] bool may_stay_owner();
  [[nodiscard]] bool may_start() const;
  /// All workers are.
  [[nodiscard]] bool stuck() const noexcept { return concurrent_ && concurrent_->all_stuck(); }
  [[nodiscard]] bool join();
  [[nodiscard]] std::uint64_t first_sequence();
  void warn_of_stream();
  void start();
  [[nodiscard]] bool turn();
  [[nodiscard]] std::optional<Clock::time_point> idle_deadline() const;
  [[nodiscard]] bool idle_for_too_long() const;
  [[nodiscard]] std::chrono::milliseconds next_wait();
  void show_status();
  [[nodiscard]] CircuitBreakers& breakers() noexcept;
  [[nodiscard]] std::string waiting_for() const;
  void handle(std::vector<StreamMessagePtr> messages);
  void drain();

  ConsumerContext& context_;
  const ConsumerOptions& options_;
  std::stop_token stop_;
  std::optional<Connection> own_connection_;
  Connection& connection_;
  OutageWait outage_;
  DeadLetters dead_letters_;
  KeyOrder key_order_;
  BatchExecutor executor_;
  InboxUpkeep upkeep_;
  std::string handlers_wait_for_;            // as told last
  std::optional<GroupOwnership> ownership_;  // of a strict group
  Clock::time_point idle_since_{};  // time in which messages are handled, or none could come, is not idle
  // Once the group is joined.
  std::optional<EventStream> stream_;  // empty without the right to look it up
  std::optional<Group> group_;
  std::optional<Puller> puller_;
  std::optional<StrictOrder> strict_;
  std::optional<Settler> settler_;
  std::optional<Watchdog> watchdog_;
  std::optional<TransactionalMode> transactional_;
  std::optional<ConcurrentMode> concurrent_;  // with workers, instead
};

}  // namespace tidings
