// A connection that is cut at every place of a batch, on the way there and on the way back.

#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/processor.hpp"
#include "support/tcp_proxy.hpp"
#include "support/wait.hpp"

#include <optional>
#include <set>

using namespace tidings::test;
using tidings::OutboxProcessorOptions;

namespace {

constexpr int batch = 24;
constexpr std::uint64_t ping = 6;  // "PING\r\n" behind what is sent, "PONG\r\n" back

/// A processor with a connection, an outbox and a stream of its own, so that the bytes that it sends
/// are as many each time.
class Line {
 public:
  Line(Broker& broker, int aggregates)
      : broker_(broker), proxy(broker.server.port()), aggregates_(aggregates) {
    if (broker_.jetstream.has_stream("AUTH_EVENTS")) broker_.jetstream.delete_stream("AUTH_EVENTS");
    broker_.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
    OutboxProcessorOptions options;
    options.processing_interval = 60s;
    processor_.emplace(outbox, proxy.url(), options);
    REQUIRE_WITHIN(10s, processor_->active());
  }

  /// The next `count` events, all of the same size, in one commit.
  void add(int count) {
    outbox.database().transact([&](tidings::Transaction& transaction) {
      for (int i = 0; i < count; ++i) {
        tidings::DomainEvent event;
        event.aggregate_id = std::string("user-") + static_cast<char>('a' + added_++ % aggregates_);
        event.aggregate_type = "User";
        event.event_type = "user.created";
        outbox.repository().add(transaction, event);
      }
    });
  }

  [[nodiscard]] int stored() const {
    return static_cast<int>(broker_.jetstream.message_count("AUTH_EVENTS"));
  }
  [[nodiscard]] int published() const { return static_cast<int>(outbox.count_status("PUBLISHED")); }

  /// After the fault: everything arrives, once, in order and at the first attempt.
  void check_recovered() {
    REQUIRE_WITHIN(10s, published() == batch);
    CHECK(stored() == batch);
    CHECK(ledger(outbox, broker_.jetstream.messages("AUTH_EVENTS")) == "");
    CHECK(outbox.count("retryCount <> 0 OR lastError IS NOT NULL") == 0);
  }

 private:
  Broker& broker_;

 public:
  Outbox outbox;
  TcpProxy proxy;

 private:
  std::optional<Processor> processor_;
  const int aggregates_;
  int added_ = 0;
};

/// Where each message of a batch ends, in bytes there and back. Learnt from events that go out one by one.
struct Ends {
  std::vector<std::uint64_t> there{0}, back{0};

  explicit Ends(Broker& broker) {
    Line line{broker, batch};
    for (int i = 0; i < batch; ++i) {
      const auto sent = line.proxy.bytes_to_server();
      const auto received = line.proxy.bytes_from_server();
      line.add(1);
      REQUIRE_WITHIN(10s, line.published() == i + 1);
      // The PONG may come behind the answer that it follows.
      REQUIRE_WITHIN(10s, line.proxy.bytes_from_server() > received + 2 * ping);
      there.push_back(there.back() + line.proxy.bytes_to_server() - sent - ping);
      back.push_back(back.back() + line.proxy.bytes_from_server() - received - ping);
    }
  }
};

}  // namespace

TEST_CASE("a connection cut after any message of a batch, or within it, costs neither event nor attempt") {
  Broker broker;
  const Ends ends{broker};
  std::set<int> arrived;
  for (std::size_t k = 0; k < batch; ++k)
    for (const auto extra : {std::uint64_t{1}, (ends.there[k + 1] - ends.there[k]) / 2}) {
      INFO("cut " << extra << " bytes after message " << k << " of " << batch);
      Line line{broker, 5};
      line.proxy.refuse(true);  // so that what arrived can be counted before the rest comes
      line.proxy.cut_after_bytes_to_server(ends.there[k] + extra);
      line.add(batch);
      REQUIRE_WITHIN(10s, line.proxy.cuts() == 1);
      // Often fewer: the server, too, gives up what it has not read when it finds its client gone.
      CHECK(line.stored() <= static_cast<int>(k));
      arrived.insert(line.stored());
      line.proxy.refuse(false);
      line.check_recovered();
    }
  CHECK(arrived.size() >= batch / 3);
}

TEST_CASE("a connection cut after any acknowledgement of a batch costs neither event nor attempt") {
  Broker broker;
  const Ends ends{broker};
  for (std::size_t k = 0; k < batch; ++k) {
    INFO("cut after acknowledgement " << k << " of " << batch);
    Line line{broker, batch};  // all are in flight at once
    const auto bytes = ends.back[k] + (ends.back[k + 1] - ends.back[k]) / 2;
    const auto end = line.proxy.bytes_from_server() + bytes;
    line.proxy.swallow_after_bytes_from_server(bytes);
    line.add(batch);
    REQUIRE_WITHIN(10s, line.stored() == batch && line.proxy.bytes_from_server() == end);
    line.proxy.refuse(true);
    line.proxy.cut();
    REQUIRE_WITHIN(10s, line.published() == static_cast<int>(k));  // those that came count
    line.proxy.swallow_from_server(false);
    line.proxy.refuse(false);
    line.check_recovered();
  }
}
