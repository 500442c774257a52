// A consumer of a group that one server of a cluster leads, and then another.

#include "sdk/consuming.hpp"
#include "support/catch.hpp"
#include "support/nats_cluster.hpp"
#include "support/wait.hpp"

using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

/// An instance that is connected to one server of the cluster.
struct Joined {
  explicit Joined(std::size_t server) : instance(folder / "inbox.db", options(server)) {
    instance.start();
    REQUIRE_WITHIN(20s, leader() != NatsCluster::none);
  }

  [[nodiscard]] tidings::ConsumerOptions options(std::size_t server) {
    auto made = consumer_of(cluster.server(server).url());
    made.replicas = 3;
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
        cluster.client().publish(
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
  void require_work_soon() {
    const auto elected = steady_clock::now();
    publish("after");
    REQUIRE_WITHIN(12s, instance.calls().size() == 2);
    using std::chrono::milliseconds;
    WARN("handled " << std::chrono::duration_cast<milliseconds>(steady_clock::now() - elected).count()
                    << " ms after the election");
  }

  NatsCluster cluster;
  TempDir folder;
  Instance instance;
};

}  // namespace

TEST_CASE("a consumer goes on soon after the server that leads its group is killed", "[.cluster]") {
  Joined joined{0};
  joined.let_lead(0, false);
  joined.wait_for_work();
  const auto old = joined.leader();
  joined.cluster.kill(old);
  REQUIRE_WITHIN(45s, joined.leader() != old && joined.leader() != NatsCluster::none);
  joined.require_work_soon();
}

TEST_CASE("a consumer goes on soon after its server, which led the group, has stood still", "[.cluster]") {
  Joined joined{0};
  joined.let_lead(0, true);
  joined.wait_for_work();
  joined.cluster.pause(0);
  REQUIRE_WITHIN(45s, joined.leader() != 0 && joined.leader() != NatsCluster::none);
  joined.cluster.resume(0);
  joined.require_work_soon();
}
