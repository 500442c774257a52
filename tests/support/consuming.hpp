#pragma once

// Verbs for tests of the consumer: events on a real stream, and instances of a
// consumer that keep a record of what their handlers saw.

#include "support/catch.hpp"
#include "support/test_inbox.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/consumer.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tidings::test {

/// Retries in milliseconds, so that a test need not wait for them.
inline ConsumerOptions consumer_of(const std::string& url) {
  ConsumerOptions options;
  options.group = "mailer";
  options.ack_wait = 30s;
  options.backoff = {.base = 20ms, .max = 100ms};
  options.connection = {};
  options.connection.urls = {url};
  return options;
}

/// A server with the stream of events, and a folder for inbox files.
struct Scene {
  explicit Scene(const std::string& config = {}, const std::string& login = {})
      : server({.config = config, .arguments = {}, .jetstream = true, .monitoring = false}),
        js("nats://" + login + "127.0.0.1:" + std::to_string(server.port())) {
    js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  }

  PublishAck publish(const std::string& id, const std::string& data = "{}",
                     const std::string& type = "user.created") {
    return js.publish("auth.events." + type, data,
                      {{"Nats-Msg-Id", id}, {"ce-specversion", "1.0"}, {"ce-id", id}, {"ce-type", type}});
  }
  /// Of an aggregate.
  PublishAck publish_for(const std::string& key, const std::string& id) {
    return js.publish("auth.events.user.created", "{}",
                      {{"Nats-Msg-Id", id},
                       {"ce-specversion", "1.0"},
                       {"ce-id", id},
                       {"ce-type", "user.created"},
                       {"ce-partitionkey", key}});
  }
  /// `prefix-0`, `prefix-1` and so on.
  void publish_many(int count, const std::string& prefix = "event") {
    for (int i = 0; i < count; ++i) publish(prefix + "-" + std::to_string(i));
  }

  [[nodiscard]] ConsumerOptions options() const { return consumer_of(server.url()); }
  [[nodiscard]] bool has_group() { return js.has_consumer("AUTH_EVENTS", "mailer"); }
  [[nodiscard]] ConsumerState group() { return js.consumer("AUTH_EVENTS", "mailer"); }
  /// False also while there is no group yet.
  [[nodiscard]] bool all_acked() {
    if (!has_group()) return false;
    const auto last = js.last_sequence("AUTH_EVENTS");
    const auto state = group();
    // The server counts what is pending a little late (2.10.27): none may be, with none delivered.
    return state.num_pending == 0 && state.num_ack_pending == 0 && state.delivered_to >= last;
  }
  [[nodiscard]] std::vector<StoredMessage> dead_letters() {
    const bool any = js.has_stream("AUTH_DLQ") && js.message_count("AUTH_DLQ") > 0;
    return any ? js.messages("AUTH_DLQ") : std::vector<StoredMessage>{};
  }
  [[nodiscard]] std::string inbox(const std::string& name = "inbox") const { return place.location(name); }
  [[nodiscard]] std::vector<std::string> effects() const { return place.effects(); }

  NatsServer server;
  JetStream js;
  TempDir folder;
  const InboxPlace place{folder};
};

/// A call of a handler.
struct Call {
  std::string id;
  int attempt = 0;
  std::uint64_t delivered = 0;
  std::chrono::steady_clock::time_point at;
};

/// One instance of a consumer, on a thread of its own. Its handler for user.created writes a row
/// into `effect`, and then does what the test wants.
class Instance {
 public:
  using Handler = std::function<void(const Delivery&, Tx&)>;
  using WorkersHandler = std::function<void(const Delivery&)>;

  Instance(const std::string& location, ConsumerOptions options, Handler handler = {})
      : inbox(location), consumer(inbox, std::move(options)) {
    make_effects(inbox);
    consumer.on<nlohmann::json>("user.created", [this, handler = std::move(handler)](
                                                    const nlohmann::json&, Tx& tx, const Delivery& delivery) {
      record(delivery);
      write_effect(tx, delivery.event.id);
      if (handler) handler(delivery, tx);
    });
  }
  /// One with workers: its handler runs on their threads, and writes nothing into the inbox's database.
  Instance(const std::string& location, ConsumerOptions options, WorkersHandler handler)
      : inbox(location), consumer(inbox, std::move(options)) {
    consumer.on<nlohmann::json>("user.created", [this, handler = std::move(handler)](
                                                    const nlohmann::json&, const Delivery& delivery) {
      record(delivery);
      if (handler) handler(delivery);
    });
  }
  ~Instance() { stop(); }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  Instance& start() {
    ended_ = false;
    thread_ = std::jthread([this](const std::stop_token& stop) {
      try {
        consumer.run(stop);
      } catch (const std::exception& caught) {
        const std::lock_guard lock{mutex_};
        error_ = caught.what();
      }
      ended_ = true;
    });
    return *this;
  }
  void ask_to_stop() { thread_.request_stop(); }
  void stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] bool ended() const { return ended_; }  ///< run() has returned or thrown
  [[nodiscard]] std::string error() const {            ///< that run() has thrown
    const std::lock_guard lock{mutex_};
    return error_;
  }
  [[nodiscard]] ConsumerStats stats() const { return consumer.stats(); }
  [[nodiscard]] std::vector<Call> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }
  [[nodiscard]] std::vector<Call> calls_for(const std::string& id) const {
    auto found = calls();
    std::erase_if(found, [&id](const Call& call) { return call.id != id; });
    return found;
  }

  TestInbox inbox;
  Consumer<TestInbox> consumer;

 private:
  void record(const Delivery& delivery) {
    const std::lock_guard lock{mutex_};
    calls_.push_back(
        {delivery.event.id, delivery.attempt, delivery.delivered, std::chrono::steady_clock::now()});
  }

  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  std::string error_;
  std::atomic<bool> ended_{false};
  std::jthread thread_;
};

/// What slow work does to a handler.
inline void take_time(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  (void)eventually(time + 60s, [end] { return std::chrono::steady_clock::now() >= end; });
}

/// For failures of one event among others.
inline Instance::Handler on_event(const std::string& id, std::function<void()> action) {
  return [id, action = std::move(action)](const Delivery& delivery, Tx&) {
    if (delivery.event.id == id) action();
  };
}

inline ConsumerOptions with_workers(ConsumerOptions options, int workers) {
  options.workers = workers;
  return options;
}

/// A handler for workers.
inline void nothing(const Delivery&) {}

inline std::vector<std::string> ids_of(const std::vector<Call>& calls) {
  std::vector<std::string> ids;
  for (const auto& call : calls) ids.push_back(call.id);
  return ids;
}

inline std::vector<std::string> unique(std::vector<std::string> ids) {
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  return ids;
}

}  // namespace tidings::test
