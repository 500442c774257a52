#pragma once

// JetStream as it is, seen without our own code: what a test reads here was
// written by the code under test. Everything goes through the JSON API, so that
// it is the same with every version of nats.c, and headers keep their bytes.

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

struct StoredMessage {
  std::uint64_t seq = 0;
  std::string subject;
  std::vector<std::pair<std::string, std::string>> headers;  ///< in wire order
  std::string data;
  std::chrono::sys_time<std::chrono::microseconds> stored{};  ///< by the server's clock

  /// The value of the first header of exactly this name; empty when there is none.
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct PublishAck {
  std::uint64_t seq = 0;
  bool duplicate = false;
};

struct ConsumerState {
  std::uint64_t num_pending = 0;      ///< not delivered yet
  std::uint64_t num_ack_pending = 0;  ///< delivered, not acked
  std::uint64_t num_redelivered = 0;
  std::uint64_t num_waiting = 0;   ///< pull requests
  std::uint64_t delivered = 0;     ///< deliveries, redeliveries included
  std::uint64_t delivered_to = 0;  ///< last stream sequence delivered
  std::uint64_t acked_to = 0;      ///< every stream sequence up to here is acked
};

/// Its connection comes back by itself when the server restarts; only a publish that a cut interrupts
/// fails, since it may have arrived. Every verb throws
/// std::runtime_error with what the server said, or when it says nothing in time. Not thread-safe.
class JetStream {
 public:
  explicit JetStream(const std::string& url, std::chrono::milliseconds timeout = std::chrono::seconds{10},
                     const std::string& inbox_prefix = "_INBOX");
  ~JetStream();

  /// One request to `$JS.API.<request>`; throws when the answer is an error.
  nlohmann::json api(const std::string& request, const nlohmann::json& body = nlohmann::json::object());

  /// File storage, limits retention, unless `config` (stream configuration as in the API,
  /// durations in nanoseconds) says otherwise: `{{"max_msg_size", 100}}`.
  void add_stream(const std::string& stream, const std::vector<std::string>& subjects,
                  const nlohmann::json& config = nlohmann::json::object());
  [[nodiscard]] bool has_stream(const std::string& stream);
  [[nodiscard]] nlohmann::json stream_config(const std::string& stream);
  [[nodiscard]] std::uint64_t message_count(const std::string& stream);
  [[nodiscard]] std::uint64_t last_sequence(const std::string& stream);          ///< 0 when it is empty
  [[nodiscard]] std::vector<StoredMessage> messages(const std::string& stream);  ///< all, by sequence
  void purge(const std::string& stream);
  void delete_stream(const std::string& stream);

  /// A durable pull consumer that acks explicitly, unless `config` says otherwise.
  void add_consumer(const std::string& stream, const std::string& durable,
                    const nlohmann::json& config = nlohmann::json::object());
  [[nodiscard]] bool has_consumer(const std::string& stream, const std::string& durable);
  [[nodiscard]] nlohmann::json consumer_config(const std::string& stream, const std::string& durable);
  [[nodiscard]] ConsumerState consumer(const std::string& stream, const std::string& durable);
  void delete_consumer(const std::string& stream, const std::string& durable);

  PublishAck publish(const std::string& subject, const std::string& data,
                     const std::vector<std::pair<std::string, std::string>>& headers = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidings::test
