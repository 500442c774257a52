// Relay and consumers on a cluster that loses its leader, a follower, all of it, or is partitioned,
// while services commit.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/nats_cluster.hpp"
#include "support/relays.hpp"
#include "support/virtual_network.hpp"
#include "support/wait.hpp"

#include <csignal>
#include <memory>
#include <optional>
#include <type_traits>

using namespace tidings::test;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto resumes_within = 5s;
constexpr int backlog = 4000;

std::int64_t milliseconds_since(Clock::time_point begun) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
}

/// Asked again until there is an answer: shortly after an election a request may find no leader yet.
template <class Question>
auto answer(const NatsCluster& cluster, Question question) {
  std::optional<std::invoke_result_t<Question, JetStream&>> answered;
  REQUIRE_WITHIN(20s, [&] {
    try {
      answered = question(cluster.client());
    } catch (const std::runtime_error&) {
    }
    return answered.has_value();
  }());
  return *answered;
}

/// Two instances of a group, and a relay whose connection begins at the leader of the stream, which has
/// three replicas. On a network, where servers notice within seconds what is silent, server 0 leads stream
/// and group, all are connected to it at first, and the relay runs where `relay_at` says.
class Flow {
 public:
  explicit Flow(VirtualNetwork* network = nullptr, const Host& relay_at = {})
      : cluster(network != nullptr ? "ping_interval: \"1s\"" : "", network) {
    auto options = consumer_of(cluster.server(0).url());
    for (std::size_t i = 1; i < NatsCluster::size && network == nullptr; ++i)
      options.connection.urls.push_back(cluster.server(i).url());
    options.replicas = 3;
    options.ack_wait = 2s;  // what was acked to a leader that is gone is delivered again after this
    for (int i = 0; i < 2; ++i)
      instances_.push_back(std::make_unique<Instance>(folder_ / "inbox.db", options));
    for (auto& instance : instances_) instance->start();
    if (network != nullptr) {
      cluster.new_leader("AUTH_EVENTS", NatsCluster::none);
      cluster.let_lead(0, "AUTH_EVENTS");
      cluster.let_lead(0, "AUTH_EVENTS", "mailer");
    }
    relay_.emplace(start_relay(cluster.new_leader("AUTH_EVENTS", NatsCluster::none), relay_at));
    writers.emplace(outbox, Load{.writers = 2, .longest_pause = 10ms, .seed = seed});
    REQUIRE_WITHIN(20s, handled() > 200);
    cluster.wait_for_replicas("AUTH_EVENTS");
    cluster.wait_for_replicas("AUTH_DLQ");
  }

  [[nodiscard]] std::int64_t committed() const { return added_ + writers->committed(); }
  [[nodiscard]] std::int64_t published() const { return outbox.count_status("PUBLISHED"); }
  [[nodiscard]] std::int64_t handled() const {
    return sqlite::number(folder_ / "inbox.db", "SELECT count(*) FROM effect");
  }

  /// So that what happens next meets a full window.
  void fill_window() {
    const auto before = published();
    outbox.add_many(backlog, 20);
    added_ += backlog;
    REQUIRE_WITHIN(20s, published() > before + 100);
  }

  /// Events go through to the end again; says how long after `since` that is. The group has a leader of
  /// its own, which may be found later.
  void require_progress(const std::string& after, Clock::time_point since) {
    const auto published_before = published();
    const auto progress = [&](auto count, auto before) {
      const bool grown = eventually(resumes_within, [&] { return count() > before; });
      INFO("the relay says:\n" << relay_->err());
      REQUIRE(grown);
      return milliseconds_since(since);
    };
    const auto published_after = progress([this] { return published(); }, published_before);
    REQUIRE_WITHIN(45s, cluster.leader("AUTH_EVENTS", "mailer") != NatsCluster::none);
    const auto led_after = milliseconds_since(since);
    const auto handled_after = progress([this] { return handled(); }, handled());
    WARN("after " << after << ": published again after " << published_after << " ms, the group led after "
                  << led_after << " ms, handled after " << handled_after << " ms");
  }

  /// What is on the stream goes on to the handlers when nothing new comes.
  void require_all_handled() {
    REQUIRE_WITHIN(45s, cluster.leader("AUTH_EVENTS", "mailer") != NatsCluster::none);
    REQUIRE_WITHIN(20s, handled() == answer(cluster, [](JetStream& js) {
                          return static_cast<std::int64_t>(js.message_count("AUTH_EVENTS"));
                        }));
  }

  /// Ends the load, and holds what there is against what there must be.
  void settle() {
    writers->stop();
    const bool all_published = eventually(20s, [&] { return outbox.count("status <> 'PUBLISHED'") == 0; });
    INFO("the relay says:\n" << relay_->err());
    REQUIRE(all_published);
    cluster.wait_for_replicas("AUTH_EVENTS");
    CHECK(outbox.count("true") == committed());
    // After a partition, the old leader may still answer for a moment what it knew.
    std::string found;
    (void)eventually(20s, [&] {
      found = audit(outbox, answer(cluster, [](JetStream& js) { return js.messages("AUTH_EVENTS"); }));
      return found.empty();
    });
    CHECK(found == "");
    REQUIRE_WITHIN(20s, handled() == committed());
    REQUIRE_WITHIN(20s, [this] {
      const auto group = answer(cluster, [](JetStream& js) { return js.consumer("AUTH_EVENTS", "mailer"); });
      return group.num_pending == 0 && group.num_ack_pending == 0;
    }());
    CHECK(sqlite::number(folder_ / "inbox.db", "SELECT count(DISTINCT id) FROM effect") == committed());
    CHECK(answer(cluster, [](JetStream& js) { return js.message_count("AUTH_DLQ"); }) == 0);
    for (auto& instance : instances_) {
      CHECK_FALSE(instance->ended());
      CHECK(instance->error() == "");
      CHECK(instance->stats().retried == 0);
      instance->stop();
    }
    CHECK(relay_->running());
    relay_->kill(SIGTERM);
    CHECK(relay_->wait() == exited(0));
  }

  const unsigned seed = random_seed();
  NatsCluster cluster;
  Outbox outbox;
  std::optional<Writers> writers;

 private:
  [[nodiscard]] Process start_relay(std::size_t begins_at, const Host& at) {
    return Process{executable("tidings"),
                   {"relay", "--outbox-stream-replicas", "3"},
                   {.environment = {{"NATS_URL", cluster.server(begins_at).url()},
                                    {"DATABASE_URL", outbox.url()},
                                    {"OUTBOX_BACKOFF_BASE_MS", "50"}},
                    .input = {},
                    .log_folder = {},
                    .network = at.network}};
  }

  std::int64_t added_ = 0;
  TempDir folder_;
  std::optional<Process> relay_;
  std::vector<std::unique_ptr<Instance>> instances_;
};

}  // namespace

TEST_CASE("the leader of the stream is killed and comes back: nothing is lost, inverted or blamed") {
  Flow flow;
  INFO("seed " << flow.seed);
  const auto old = flow.cluster.new_leader("AUTH_EVENTS", NatsCluster::none);
  flow.fill_window();
  const auto killed = Clock::now();
  flow.cluster.kill(old);
  flow.cluster.new_leader("AUTH_EVENTS", old);
  WARN("new leader after " << milliseconds_since(killed) << " ms");
  flow.require_progress("the new leader", Clock::now());
  flow.cluster.start();
  flow.cluster.wait_for_replicas("AUTH_EVENTS");
  flow.settle();
}

TEST_CASE("a follower of the stream is killed and comes back: work goes on meanwhile") {
  Flow flow;
  INFO("seed " << flow.seed);
  const auto leader = flow.cluster.new_leader("AUTH_EVENTS", NatsCluster::none);
  const auto follower = (leader + 1) % NatsCluster::size;
  flow.fill_window();
  const auto killed = Clock::now();
  flow.cluster.kill(follower);
  flow.require_progress("the kill", killed);
  flow.cluster.start();
  flow.cluster.wait_for_replicas("AUTH_EVENTS");
  flow.require_progress("its return", Clock::now());
  flow.settle();
}

TEST_CASE("the whole cluster is stopped and started again: nothing is lost, inverted or blamed") {
  Flow flow;
  INFO("seed " << flow.seed);
  flow.fill_window();
  flow.cluster.stop();
  const auto committed = flow.writers->committed();
  REQUIRE_WITHIN(20s, flow.writers->committed() > committed + 500);
  flow.cluster.start();
  const auto started = Clock::now();
  flow.cluster.new_leader("AUTH_EVENTS", NatsCluster::none);
  WARN("leader after " << milliseconds_since(started) << " ms");
  flow.require_progress("the new leader", Clock::now());
  flow.settle();
}

TEST_CASE("the leader of the stream stands still, is replaced, and goes on: nothing is lost or inverted") {
  Flow flow;
  INFO("seed " << flow.seed);
  const auto old = flow.cluster.new_leader("AUTH_EVENTS", NatsCluster::none);
  flow.fill_window();
  const auto paused = Clock::now();
  flow.cluster.pause(old);
  flow.cluster.new_leader("AUTH_EVENTS", old);
  WARN("new leader after " << milliseconds_since(paused) << " ms");
  flow.cluster.resume(old);  // it takes itself for the leader until it hears of the other
  flow.require_progress("the resumption", Clock::now());
  flow.cluster.wait_for_replicas("AUTH_EVENTS");
  flow.settle();
}

TEST_CASE("the leader is partitioned away from all that are connected to it: they find the others") {
  if (!VirtualNetwork::possible()) {
    WARN("not tested: this user may not make network namespaces");
    return;
  }
  VirtualNetwork network{NatsCluster::size};
  Flow flow{&network, network.switchboard()};
  INFO("seed " << flow.seed);
  flow.cluster.let_lead(0, "AUTH_EVENTS");
  flow.fill_window();
  const auto cut = Clock::now();
  flow.cluster.cut_off(0);
  flow.cluster.new_leader("AUTH_EVENTS", 0, 75s);
  WARN("new leader after " << milliseconds_since(cut) << " ms");
  flow.require_progress("the new leader", Clock::now());
  flow.cluster.join(0);
  flow.cluster.wait_for_replicas("AUTH_EVENTS", 60s);
  flow.require_progress("the end of the partition", Clock::now());
  flow.settle();
}

TEST_CASE(
    "a relay is partitioned away with the leader: what it could not publish follows, in order and once") {
  if (!VirtualNetwork::possible()) {
    WARN("not tested: this user may not make network namespaces");
    return;
  }
  VirtualNetwork network{NatsCluster::size};
  Flow flow{&network, network.host(0)};
  INFO("seed " << flow.seed);
  flow.cluster.let_lead(0, "AUTH_EVENTS");
  flow.fill_window();
  flow.cluster.cut_off(0);
  flow.cluster.new_leader("AUTH_EVENTS", 0, 75s);
  flow.require_all_handled();
  const auto [published, committed] = std::pair{flow.published(), flow.committed()};
  REQUIRE_WITHIN(20s, flow.committed() > committed + 500);
  CHECK(flow.published() == published);
  const auto joined = Clock::now();
  flow.cluster.join(0);
  REQUIRE_WITHIN(60s, flow.published() > published);
  WARN("published again " << milliseconds_since(joined) << " ms after the end of the partition");
  flow.settle();
}
