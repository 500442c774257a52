// A consumer of a group that one server of a cluster leads, and then another.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/nats_cluster.hpp"
#include "support/wait.hpp"

using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

/// An instance that is connected to one server of the cluster.
struct Joined {
  explicit Joined(std::size_t server, const Instance::Handler& handler = {}, int prefetch = 1000,
                  const std::string& config = {})
      : cluster(config), instance(folder / "inbox.db", options(server, prefetch), handler) {
    instance.start();
    REQUIRE_WITHIN(20s, leader() != NatsCluster::none);
  }

  [[nodiscard]] tidings::ConsumerOptions options(std::size_t server, int prefetch) {
    auto made = consumer_of(cluster.server(server).url());
    made.replicas = 3;
    made.prefetch = prefetch;
    made.max_batch = std::min(made.max_batch, prefetch);
    made.ack_wait = 2s;  // what is acked to nobody is delivered again after this
    return made;
  }
  [[nodiscard]] std::size_t leader() const { return cluster.leader("AUTH_EVENTS", "mailer"); }
  void let_lead(std::size_t server, bool lead) {
    REQUIRE_WITHIN(60s, [&] {
      const auto now = leader();
      if (now != NatsCluster::none && (now == server) == lead) return true;
      if (now != NatsCluster::none)
        (void)eventually(1s, [&] {
          return cluster.ask("CONSUMER.LEADER.STEPDOWN.AUTH_EVENTS.mailer").contains("success");
        });
      return false;
    }());
  }
  /// Tries again while a leader is elected.
  void publish(const std::string& id) {
    REQUIRE_WITHIN(20s, [&] {
      try {
        cluster.impatient_client().publish(
            "auth.events.user.created", "{}",
            {{"Nats-Msg-Id", id}, {"ce-specversion", "1.0"}, {"ce-id", id}, {"ce-type", "user.created"}});
        return true;
      } catch (const std::runtime_error&) {
        return false;
      }
    }());
  }
  /// And the pull is one that has been answered, which is left open for longer than the first.
  void wait_for_work() {
    publish("before");
    REQUIRE_WITHIN(20s, instance.calls().size() == 1);
    const auto handled = steady_clock::now();
    REQUIRE_WITHIN(20s, steady_clock::now() > handled + 2s);
  }
  void require_another_leader_than(std::size_t old) {
    REQUIRE_WITHIN(45s, [&] {
      const auto now = leader();
      return now != old && now != NatsCluster::none;
    }());
  }
  /// Both the group and the stream have a leader of their own.
  void require_work_soon() {
    publish("after");
    require_calls_soon(2);
  }
  void require_calls_soon(std::size_t calls) {
    const auto led = steady_clock::now();
    REQUIRE_WITHIN(5s, instance.calls().size() >= calls);
    using std::chrono::milliseconds;
    WARN("handled " << std::chrono::duration_cast<milliseconds>(steady_clock::now() - led).count()
                    << " ms after there was a leader");
  }

  NatsCluster cluster;
  TempDir folder;
  Instance instance;
};

void require_work_after_asking_nobody(const std::string& config) {
  constexpr int prefetch = 4;
  Gate gate;
  Joined joined{0, [&gate](const tidings::Delivery&, Tx&) { gate.pass(); }, prefetch, config};
  joined.let_lead(0, false);
  for (int i = 0; i < 16; ++i) joined.publish(std::to_string(i));
  // Pulls are refilled at half, and not while the handler is at the gate: after one that was not answered,
  // three are asked for beside the one of its successor, and that may have expired before there was an event.
  REQUIRE_WITHIN(20s, joined.instance.stats().in_flight > prefetch / 2);
  const auto old = joined.leader();
  joined.cluster.kill(old);
  gate.open();  // nobody leads who could hear what is asked for now
  joined.require_another_leader_than(old);
  joined.require_calls_soon(16);
}

}  // namespace

TEST_CASE("a consumer goes on soon after the server that leads its group is killed") {
  Joined joined{0};
  joined.let_lead(0, false);
  joined.wait_for_work();
  const auto old = joined.leader();
  joined.cluster.kill(old);
  joined.require_another_leader_than(old);
  joined.require_work_soon();
}

TEST_CASE(
    "a consumer that asks for messages while its group has no leader gets them soon after there is one") {
  require_work_after_asking_nobody({});
}

TEST_CASE(
    "a consumer that may not hear leader advisories gets what it asked for in an election soon after it") {
  require_work_after_asking_nobody(
      "authorization { users: [{ user: deaf, password: deaf, permissions: { subscribe: { deny: "
      "\"$JS.EVENT.>\" } } }] }\nno_auth_user: deaf\n");
}

TEST_CASE("a consumer goes on soon after its server, which led the group, has stood still") {
  Joined joined{0};
  joined.let_lead(0, true);
  joined.wait_for_work();
  joined.cluster.pause(0);
  joined.require_another_leader_than(0);
  joined.cluster.resume(0);
  joined.require_work_soon();
}

TEST_CASE("a consumer waits for a cluster that has too few servers for the replicas") {
  NatsCluster cluster;  // as one looks that is still forming
  auto options = consumer_of(cluster.server(0).url());
  options.replicas = NatsCluster::size + 2;
  const TempDir folder;
  Instance instance{folder / "inbox.db", options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().reason.find("10005") != std::string::npos);
  CHECK_FALSE(instance.ended());
  cluster.client().add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"num_replicas", 3}});
  REQUIRE_WITHIN(20s, instance.ended());  // it is there now, and waiting does not help against what it is
  CHECK_THAT(instance.error(), ContainsSubstring("num_replicas 3, expected at least 5"));
}
