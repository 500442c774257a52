#pragma once

// Verbs for tests of concurrent mode without NATS: an inbox, workers, and what
// their handlers did.

#include "consumer/concurrent_executor.hpp"
#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/temp_dir.hpp"
#include "support/test_inbox.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// An instance of a consumer with workers, which its test drives by hand.
class ManualConsumer {
 public:
  using Handler = std::function<void(const Delivery&)>;
  struct Call {
    std::string id;
    int attempt = 0;
    friend bool operator==(const Call&, const Call&) = default;
  };

  explicit ManualConsumer(const std::string& location, Handler handler = {},
                          const std::function<void(ConsumerOptions&)>& change = {},
                          const RetryPolicy& retry = {})
      : inbox(location), options(options_with(change)) {
    inbox.join("mailer");
    handlers.add("user.created", {[this, handler = std::move(handler)](const Delivery& delivery) {
                                    {
                                      const std::lock_guard lock{mutex_};
                                      calls_.push_back({delivery.event.id, delivery.attempt});
                                    }
                                    if (handler) handler(delivery);
                                  },
                                  retry});
  }

  /// A message from the stream: the first of an id, or the same one again.
  void submit(const std::string& id, const std::string& key = {}, const std::string& type = "user.created") {
    Delivery delivery;
    delivery.attempt = 0;
    delivery.event.id = id;
    delivery.event.type = type;
    delivery.event.data = "{}";
    delivery.event.partition_key = key;
    delivery.stream_sequence = sequences_.try_emplace(id, sequences_.size() + 1).first->second;
    delivery.delivered = ++delivered_[id];
    submitted_.push_back(id);
    executor.submit(submitted_.size() - 1, std::move(delivery));
  }
  void submit_all(const std::vector<std::string>& ids) {
    for (const auto& id : ids) submit(id);
  }
  void step() { add(executor.step()); }
  void withdraw(std::chrono::milliseconds delay = {}) { add(executor.withdraw(delay)); }
  void abandon_all() { add(executor.abandon_all()); }

  /// Does what a consumer does until so many messages in all are settled. False when they are not in time.
  [[nodiscard]] bool settle(std::size_t count) {
    return eventually(20s, [&] {
      if (executor.more_to_do()) step();
      return settled.size() >= count;
    });
  }
  /// Submits one and returns what becomes of it.
  Settlement handle(const std::string& id) {
    submit(id);
    REQUIRE(settle(settled.size() + 1));
    return settled.back().second;
  }

  /// The latest of that id.
  [[nodiscard]] Settlement settlement(const std::string& id) const {
    const auto found = std::find_if(settled.rbegin(), settled.rend(),
                                    [&id](const auto& entry) { return entry.first == id; });
    if (found == settled.rend()) throw std::logic_error(id + " is not settled");
    return found->second;
  }
  [[nodiscard]] Settlement::Kind kind(const std::string& id) const { return settlement(id).kind; }
  [[nodiscard]] std::vector<std::string> settled_ids() const {
    std::vector<std::string> ids;
    for (const auto& [id, settlement] : settled) ids.push_back(id);
    return ids;
  }
  [[nodiscard]] std::vector<Call> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }

 private:
  static ConsumerOptions options_with(const std::function<void(ConsumerOptions&)>& change) {
    ConsumerOptions options;
    options.group = "mailer";
    options.workers = 4;
    options.max_attempts = 3;
    options.backoff = {.base = 100ms, .max = 10s};
    if (change) change(options);
    return options;
  }
  void add(std::vector<ConcurrentExecutor::Settled> settlements) {
    for (auto& [ticket, delivery, settlement] : settlements) {
      if (delivery.event.id != submitted_.at(ticket))
        throw std::logic_error("the ticket is of another event");
      settled.emplace_back(delivery.event.id, std::move(settlement));
    }
  }

  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  std::vector<std::string> submitted_;  // ids by ticket
  std::map<std::string, std::uint64_t> sequences_, delivered_;

 public:
  TestInbox inbox;
  const ConsumerOptions options;
  Handlers handlers;
  std::vector<std::pair<std::string, Settlement>> settled;  ///< in the order of their settlements
  std::function<void()> on_wake;                            ///< on a worker's thread
  std::atomic<int> wakes{0};
  KeyOrder key_order{options};
  ConcurrentExecutor executor{inbox.tables(), handlers, options, key_order, [this] {
                                ++wakes;
                                if (on_wake) on_wake();
                              }};
};

inline std::function<void(ConsumerOptions&)> workers(int count) {
  return [count](ConsumerOptions& options) { options.workers = count; };
}

/// Handlers for one id; the others succeed.
inline ManualConsumer::Handler on_id(const std::string& id, std::function<void()> action) {
  return [id, action = std::move(action)](const Delivery& delivery) {
    if (delivery.event.id == id) action();
  };
}

}  // namespace tidings::test
