// Headers read from a message's bytes: the grammar, and that nats.c keeps messages as that reading expects.

#include "nats/message_headers.hpp"

#include "nats/handle.hpp"
#include "support/catch.hpp"
#include "support/loopback.hpp"
#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

std::optional<Headers> parsed(const std::string& block) {
  Headers headers{{"of an", "earlier message"}, {"and", "another"}, {"and one", "more"}};
  if (!parse_headers(block, headers)) return std::nullopt;
  return headers;
}

/// A client that sends header blocks as they are given; nats.c would make its own.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(start_connecting(port)) {
    send("CONNECT {\"verbose\":false,\"headers\":true}\r\n");
  }

  void publish(const std::string& subject, const std::string& reply, const std::string& block,
               const std::string& payload) {
    const auto sizes =
        block.empty() ? std::to_string(payload.size())
                      : std::to_string(block.size()) + " " + std::to_string(block.size() + payload.size());
    send((block.empty() ? "PUB " : "HPUB ") + subject + " " + reply + " " + sizes + "\r\n" + block + payload +
         "\r\n");
  }

 private:
  void send(const std::string& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      pollfd writable{socket_.get(), POLLOUT, 0};
      REQUIRE(::poll(&writable, 1, 10000) == 1);
      const auto size = ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      REQUIRE(size > 0);
      sent += static_cast<std::size_t>(size);
    }
  }

  FileDescriptor socket_;
};

/// What nats.c receives of one message. On its own thread, as the consumer does: nats.c itself looks into the
/// headers of messages that are waited for.
class Receiver {
 public:
  explicit Receiver(const NatsServer& server) : raw_(server.port()) {
    REQUIRE(natsConnection_ConnectTo(&connection_, server.url().c_str()) == NATS_OK);
    REQUIRE(natsConnection_Subscribe(&subscription_, connection_, "subject", keep, this) == NATS_OK);
    REQUIRE(natsConnection_Flush(connection_) == NATS_OK);
  }
  ~Receiver() {
    natsSubscription_Destroy(subscription_);
    natsConnection_Destroy(connection_);
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  /// With a reply subject, as every message of JetStream has one; empty for none.
  MessagePtr through_the_server(const std::string& block, const std::string& payload = "{}",
                                const std::string& reply = "where.acks.go") {
    raw_.publish("subject", reply, block, payload);
    natsMsg* message = nullptr;
    REQUIRE_WITHIN(10s, (message = arrived_.exchange(nullptr)) != nullptr);
    MessagePtr held{message};
    REQUIRE(std::string(natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))) ==
            payload);
    return held;
  }

 private:
  static void keep(natsConnection*, natsSubscription*, natsMsg* message, void* receiver) {
    static_cast<Receiver*>(receiver)->arrived_ = message;
  }

  RawClient raw_;
  std::atomic<natsMsg*> arrived_{nullptr};
  natsConnection* connection_ = nullptr;
  natsSubscription* subscription_ = nullptr;
};

using HeaderSet = std::map<std::string, std::vector<std::string>>;

HeaderSet set_of(const Headers& headers) {
  HeaderSet set;
  for (const auto& [name, value] : headers) set[name].push_back(value);
  return set;
}

/// As nats.c's own reading has them, which read_headers must come before.
HeaderSet set_of_nats_c(natsMsg* message) {
  HeaderSet set;
  const char** names = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &names, &count) != NATS_OK) return set;
  for (int i = 0; i < count; ++i) {
    const char** values = nullptr;
    int value_count = 0;
    REQUIRE(natsMsgHeader_Values(message, names[i], &values, &value_count) == NATS_OK);
    set[names[i]].assign(values, values + value_count);
    const char* first = nullptr;
    REQUIRE(natsMsgHeader_Get(message, names[i], &first) == NATS_OK);
    CHECK(set[names[i]].at(0) == first);
    std::free(static_cast<void*>(values));
  }
  std::free(static_cast<void*>(names));
  return set;
}

std::string block_of(const Headers& headers) {
  std::string block = "NATS/1.0\r\n";
  for (const auto& [name, value] : headers) block.append(name).append(": ").append(value).append("\r\n");
  return block + "\r\n";
}

}  // namespace

TEST_CASE("a header block is read in wire order, byte for byte") {
  CHECK(parsed("NATS/1.0\r\nce-id: 1\r\nNats-Msg-Id: 2\r\n\r\n") ==
        Headers{{"ce-id", "1"}, {"Nats-Msg-Id", "2"}});
  CHECK(parsed("NATS/1.0\r\nB: 1\r\nA: 2\r\nB: 3\r\nb: 4\r\n\r\n") ==
        Headers{{"B", "1"}, {"A", "2"}, {"B", "3"}, {"b", "4"}});
  CHECK(parsed("NATS/1.0\r\na:no space\r\nb: \t both \t \r\nc:in  side\r\n\r\n") ==
        Headers{{"a", "no space"}, {"b", "both"}, {"c", "in  side"}});
  CHECK(parsed("NATS/1.0\r\ntime: 12:30:00\r\nurl: nats://h:1\r\ncolon: :\r\n\r\n") ==
        Headers{{"time", "12:30:00"}, {"url", "nats://h:1"}, {"colon", ":"}});
  CHECK(parsed("NATS/1.0\r\nempty:\r\nspaces:   \r\nlast: 1\r\n\r\n") ==
        Headers{{"empty", ""}, {"spaces", ""}, {"last", "1"}});
  CHECK(parsed("NATS/1.0\r\nbytes: \xff\xfe Zo\xc3\xab\r\nbare: a\nb\rc\r\n\r\n") ==
        Headers{{"bytes", "\xff\xfe Zo\xc3\xab"}, {"bare", "a\nb\rc"}});
  CHECK(parsed(block_of({{"nul", std::string("a\0b", 3)}})) == Headers{{"nul", std::string("a\0b", 3)}});
}

TEST_CASE("a status line has its headers behind it, or none") {
  CHECK(parsed("NATS/1.0 503\r\n\r\n") == Headers{});
  CHECK(parsed("NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 7\r\n\r\n") ==
        Headers{{"Nats-Pending-Messages", "7"}});
  CHECK(parsed("NATS/1.0\r\n\r\n") == Headers{});
}

TEST_CASE("what is no header block, or goes on in a second line, is left to nats.c") {
  for (const std::string block :
       {"", "NATS/1.0", "NATS/1.0\r\n", "NATS/1.0\r\na: 1", "NATS/1.0\r\na: 1\r\n",  // truncated
        "NATS/1.0\r\na: 1\r\n\r", "NATS/1.0\na: 1\n\n",                              // bare line feeds
        "NATS/2.0\r\na: 1\r\n\r\n", "a: 1\r\n\r\n", "{\"json\": 1}",                 // something else
        "NATS/1.0\r\na: 1\r\n folded\r\n\r\n", "NATS/1.0\r\na: 1\r\n\tfolded: 2\r\n\r\n",
        "NATS/1.0\r\nno colon\r\n\r\n", "NATS/1.0\r\n: no name\r\n\r\n",
        "NATS/1.0\r\na: 1\r\n\r\nb: behind the end\r\n\r\n"}) {
    INFO(block);
    CHECK_FALSE(parsed(block).has_value());
  }
}

TEST_CASE("every beginning of a good block is incomplete") {
  const auto block = block_of({{"ce-id", "1"}, {"empty", ""}, {"ce-type", "user.created"}});
  REQUIRE(parsed(block).has_value());
  for (std::size_t size = 0; size < block.size(); ++size) {
    INFO(size);
    CHECK_FALSE(parsed(block.substr(0, size)).has_value());
  }
}

TEST_CASE("what is read from a message's bytes is what nats.c reads from it") {
  const NatsServer server{{.config = {}, .arguments = {}, .jetstream = false, .monitoring = false}};
  Receiver receiver{server};
  Headers many;
  for (int i = 0; i < 300; ++i) many.emplace_back("x-header-" + std::to_string(i), std::string(200, 'v'));
  const auto blocks = std::vector<std::string>{
      "",  // none at all
      block_of({{"ce-id", "1"}}),
      block_of({{"ce-specversion", "1.0"},
                {"ce-id", "0192f1c0-7d7a-7000-8000-000000000001"},
                {"ce-type", "user.created"},
                {"ce-time", "2026-01-02T03:04:05.678Z"},
                {"ce-metadata", R"({"ip":"::1","agent":"x: y"})"},
                {"Nats-Msg-Id", "0192f1c0-7d7a-7000-8000-000000000001"}}),
      block_of({{"Twice", "1"}, {"Once", "2"}, {"Twice", "3"}, {"twice", "4"}}),
      "NATS/1.0\r\nno-space:value\r\nspaces:    value\r\n\r\n",
      block_of({{"bytes", "Zo\xc3\xab \xff\xfe\x01"}, {"colons", "a:b:c"}}),
      block_of({{"h", "1"}}) /* as short as headers get */,
      block_of(many),
      block_of({{"long", std::string(500'000, 'x')}}),
      "NATS/1.0\r\nfolded: one\r\n  two\r\nafter: 3\r\n\r\n",
  };
  for (const auto& block : blocks)
    for (const std::string payload : {"", "{}", "NATS/1.0\r\nce-id: of the payload\r\n\r\n"}) {
      INFO(block.substr(0, 200) << " payload " << payload);
      const auto message = receiver.through_the_server(block, payload);
      Headers headers{{"of an", "earlier message"}};
      read_headers(message.get(), headers);
      CHECK(set_of(headers) == set_of_nats_c(message.get()));
    }
}

// nats.c's table knows no order and read_from_table only the first of a name: whoever sees all of them in
// order has found the bytes. A nats.c that keeps messages in another way turns this red.
TEST_CASE("headers come from the message's bytes with this nats.c, not from its table") {
  const NatsServer server{{.config = {}, .arguments = {}, .jetstream = false, .monitoring = false}};
  Receiver receiver{server};
  const Headers sent{{"z", "1"}, {"a", "2"}, {"z", "3"}, {"m", ""}, {"z", "4"}};
  for (const std::size_t payload_size : {0U, 1U, 100U, 100'000U}) {
    const auto message = receiver.through_the_server(block_of(sent), std::string(payload_size, 'x'));
    Headers headers;
    read_headers(message.get(), headers);
    CHECK(headers == sent);
  }
}

TEST_CASE("headers of a message without a reply, and larger ones than any sender's, are read all the same") {
  const NatsServer server{
      {.config = "max_payload: 8MB", .arguments = {}, .jetstream = false, .monitoring = false}};
  Receiver receiver{server};
  Headers headers;
  const auto without_reply = receiver.through_the_server(block_of({{"ce-id", "1"}}), "{}", "");
  read_headers(without_reply.get(), headers);
  CHECK(headers == Headers{{"ce-id", "1"}});

  const std::string huge(3'000'000, 'x');
  const auto message = receiver.through_the_server(block_of({{"huge", huge}, {"ce-id", "2"}}));
  read_headers(message.get(), headers);
  CHECK(set_of(headers) == HeaderSet{{"huge", {huge}}, {"ce-id", {"2"}}});
}
