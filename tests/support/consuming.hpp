#pragma once

// Verbs for tests of the consumer: events on a real stream, and instances of a
// consumer that keep a record of what their handlers saw.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/temp_dir.hpp"
#include "support/test_inbox.hpp"
#include "support/wait.hpp"

#include <tidings/consumer.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tidings::test {

/// Retries in milliseconds, so that a test need not wait for them.
ConsumerOptions consumer_of(const std::string& url);

/// A server with the stream of events, and a folder for inbox files.
struct Scene {
  explicit Scene(const std::string& config = {}, const std::string& login = {});

  PublishAck publish(const std::string& id, const std::string& data = "{}",
                     const std::string& type = "user.created");
  PublishAck publish_for(const std::string& key, const std::string& id, const std::string& data = "{}");
  /// `prefix-0`, `prefix-1` and so on.
  void publish_many(int count, const std::string& prefix = "event");

  [[nodiscard]] ConsumerOptions options() const { return consumer_of(server.url()); }
  [[nodiscard]] bool has_group() { return js.has_consumer("AUTH_EVENTS", "mailer"); }
  [[nodiscard]] ConsumerState group() { return js.consumer("AUTH_EVENTS", "mailer"); }
  /// False also while there is no group yet.
  [[nodiscard]] bool all_acked();
  [[nodiscard]] std::vector<StoredMessage> dead_letters();
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

  Instance(const std::string& location, ConsumerOptions options, Handler handler = {});
  /// On a connection that others share.
  Instance(const std::string& location, Connection& connection, ConsumerOptions options,
           Handler handler = {});
  /// One with workers: its handler runs on their threads, and writes nothing into the inbox's database.
  Instance(const std::string& location, ConsumerOptions options, WorkersHandler handler);
  ~Instance() { stop(); }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  Instance& start();
  void ask_to_stop() { thread_.request_stop(); }
  void stop();

  [[nodiscard]] bool ended() const { return ended_; }  ///< run() has returned or thrown
  [[nodiscard]] std::string error() const;             ///< what run() has thrown
  [[nodiscard]] ConsumerStats stats() const { return consumer.stats(); }
  [[nodiscard]] std::vector<Call> calls() const;
  [[nodiscard]] std::vector<Call> calls_for(const std::string& id) const;

  TestInbox inbox;
  Consumer<TestInbox> consumer;

 private:
  void handle_with(Handler handler);
  void record(const Delivery& delivery);

  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  std::string error_;
  std::atomic<bool> ended_{false};
  std::jthread thread_;
};

/// What slow work does to a handler.
void take_time(std::chrono::milliseconds time);

/// For failures of one event among others.
Instance::Handler on_event(const std::string& id, std::function<void()> action);

ConsumerOptions with_workers(ConsumerOptions options, int workers);

/// A handler for workers.
inline void nothing(const Delivery&) {}

std::vector<std::string> ids_of(const std::vector<Call>& calls);
std::vector<std::string> unique(std::vector<std::string> ids);

}  // namespace tidings::test
