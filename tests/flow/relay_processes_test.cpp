// Several relays on one outbox, frozen, stopped and killed while services commit to it.

#include "support/catch.hpp"
#include "support/relays.hpp"
#include "support/sized_json.hpp"
#include "support/tcp_proxy.hpp"
#include "support/wait.hpp"

#include <httplib.h>

#include <csignal>
#include <map>
#include <optional>
#include <set>

using namespace tidings::test;
using tidings::Transaction;
using Clock = std::chrono::steady_clock;

namespace {

const Relays::Settings long_lease{{"OUTBOX_LEASE_MS", "60000"}};
const Relays::Settings short_lease{{"OUTBOX_LEASE_MS", "500"}};

std::int64_t milliseconds_since(Clock::time_point begun) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count();
}

/// What each relay's connection has sent to the server: connection → messages.
std::map<int, std::int64_t> sent_by_connection(const NatsServer& server) {
  httplib::Client client{server.monitoring_url()};
  const auto answer = client.Get("/connz?limit=1000");
  if (!answer) throw std::runtime_error("the server does not answer on its monitoring port");
  std::map<int, std::int64_t> sent;
  const auto said = nlohmann::json::parse(answer->body);
  for (const auto& connection : said.at("connections"))
    if (connection.value("name", "") == "tidings relay")
      sent[connection.at("cid").get<int>()] = connection.at("in_msgs").get<std::int64_t>();
  return sent;
}

/// How many relays have sent something since `before`.
int sending_since(const std::map<int, std::int64_t>& before, const NatsServer& server) {
  int sending = 0;
  for (const auto& [connection, count] : sent_by_connection(server)) {
    const auto earlier = before.find(connection);
    if (count > (earlier == before.end() ? 0 : earlier->second)) ++sending;
  }
  return sending;
}

/// Frozen inside a transaction, it would keep SQLite's lock from everyone, its successor included, for
/// as long as it stands still: then it goes on, to be frozen at another moment.
bool frozen_outside_of_a_transaction(Process& relay, const Writers& writers) {
  relay.pause();
  const auto committed = writers.committed() + 32;  // commits of before may be counted after
  if (eventually(500ms, [&] { return writers.committed() > committed; })) return true;
  relay.resume();
  return false;
}

/// Relays of which one, by its process id, is the active one.
class Crowd {
 public:
  Crowd(const Relays& relays, Relays::Settings settings) : relays_(relays), settings_(std::move(settings)) {}

  void grow(int size) {
    while (static_cast<int>(processes_.size()) < size) {
      auto process = relays_.start(settings_);
      const auto id = process.pid();
      processes_.emplace(id, std::move(process));
    }
  }
  [[nodiscard]] bool has_active() const { return processes_.contains(relays_.active()); }
  [[nodiscard]] bool all_connected() const {
    return sent_by_connection(relays_.server).size() == processes_.size();
  }
  [[nodiscard]] Process take_active() {
    auto node = processes_.extract(relays_.active());
    if (node.empty()) throw std::runtime_error("none of the relays is active");
    return std::move(node.mapped());
  }
  /// SIGTERM to all; how many did not end with exit code 0.
  [[nodiscard]] int stop() {
    for (auto& [id, process] : processes_) process.kill(SIGTERM);
    int failed = 0;
    for (auto& [id, process] : processes_) failed += process.wait() == exited(0) ? 0 : 1;
    processes_.clear();
    return failed;
  }

 private:
  const Relays& relays_;
  Relays::Settings settings_;
  std::map<pid_t, Process> processes_;
};

}  // namespace

TEST_CASE("a relay frozen past its lease with an outcome in hand does not write it over its successor's") {
  Relays relays;
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  // Every write that takes a row back to an earlier attempt stays on record.
  relays.outbox.execute(
      "CREATE TABLE stale_write(id TEXT);"
      "CREATE TRIGGER stale_write AFTER UPDATE ON outbox_event "
      "WHEN new.retryCount < old.retryCount OR new.updatedAt < old.updatedAt "
      "BEGIN INSERT INTO stale_write VALUES (new.id); END");
  const Relays::Settings settings{
      {"OUTBOX_LEASE_MS", "1500"}, {"OUTBOX_BACKOFF_BASE_MS", "400"}, {"OUTBOX_MAX_RETRIES", "100"}};
  auto first = relays.start(settings);
  REQUIRE_WITHIN(20s, relays.active() == first.pid());
  relays.outbox.add("a");
  REQUIRE_WITHIN(20s, relays.published() == 1);

  // The first publishes while it cannot write: it stands still with all its marks in memory.
  first.pause();
  const auto poison = relays.outbox.add("hot", json_of_size(2000));
  const auto next = relays.outbox.add("hot");
  relays.outbox.add_many(50, 5);
  const auto service = tidings::Database::open(relays.outbox.url());
  std::optional<Transaction> writing{std::in_place, *service};
  first.resume();
  REQUIRE_WITHIN(20s, relays.jetstream.message_count("AUTH_EVENTS") == 51);
  REQUIRE(first.wait_for_output("refused id=" + poison, 20s));
  first.pause();
  writing.reset();
  REQUIRE(relays.published() == 1);
  REQUIRE(relays.outbox.value(poison, "status") == "PENDING");

  auto second = relays.start(settings);
  REQUIRE_WITHIN(20s, relays.active() == second.pid());
  const auto epoch = relays.epoch();
  const auto holder = relays.holder();
  REQUIRE_WITHIN(20s, relays.published() == 51);
  REQUIRE_WITHIN(20s, std::stoi(relays.outbox.value(poison, "retryCount")) >= 2);
  const std::string marks =
      "SELECT id || status || publishedAt || updatedAt FROM outbox_event WHERE status = 'PUBLISHED' ORDER BY "
      "1";
  const auto marked = sqlite::column(relays.outbox.path(), marks);

  first.resume();
  CHECK(first.wait_for_output("lease lost", 10s));
  CHECK(first.wait_for_output("standby", 10s));
  CHECK(sqlite::number(relays.outbox.path(), "SELECT count(*) FROM stale_write") == 0);
  CHECK(sqlite::column(relays.outbox.path(), marks) == marked);
  CHECK(relays.epoch() == epoch);
  CHECK(relays.holder() == holder);
  CHECK(relays.outbox.value(next, "status") == "PENDING");

  relays.outbox.add_many(50, 5);
  REQUIRE_WITHIN(20s, relays.published() == 101);
  CHECK(ledger(relays.outbox, relays.jetstream.messages("AUTH_EVENTS")) == "");
  for (auto* relay : {&first, &second}) {
    CHECK(relay->running());
    relay->kill(SIGTERM);
    CHECK(relay->wait() == exited(0));
  }
}

TEST_CASE("relays that are frozen past their lease in turn, under load, leave no inversion", "[engines]") {
  Relays relays{engine_under_test()};
  relays.outbox.add_many(5000, 20);  // so that the first freeze meets a full window
  std::optional<Process> active = relays.start();
  REQUIRE_WITHIN(20s, relays.active() == active->pid());
  std::optional<Process> standby = relays.start();
  REQUIRE(standby->wait_for_output("standby", 20s));
  Writers writers{relays.outbox, {.seed = random_seed()}};
  for (int round = 0; round < 3; ++round) {
    const auto before = relays.published();
    REQUIRE_WITHIN(20s, relays.published() > before + 50);
    REQUIRE_WITHIN(20s, frozen_outside_of_a_transaction(*active, writers));
    const bool taken = eventually(20s, [&] { return relays.active() == standby->pid(); });
    INFO("the standby says: " << standby->err());
    REQUIRE(taken);
    const auto epoch = relays.epoch();
    const auto taken_over = relays.published();
    REQUIRE_WITHIN(20s, relays.published() > taken_over + 50);
    const auto lost = occurrences(active->err(), "lease lost");
    active->resume();
    REQUIRE_WITHIN(20s, occurrences(active->err(), "lease lost") > lost);
    CHECK(relays.epoch() == epoch);
    std::swap(active, standby);
  }
  writers.stop();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.audit() == "");
  for (auto* relay : {&*active, &*standby}) {
    relay->kill(SIGTERM);
    CHECK(relay->wait() == exited(0));
  }
}

TEST_CASE("a relay killed again and again at random moments loses nothing and inverts nothing", "[engines]") {
  const int kills = engine_under_test() == Engine::sqlite ? 100 : 40;  // a start takes longer there
  const auto seed = random_seed();
  INFO("TIDINGS_SEED=" << seed);
  std::mt19937 random{seed};
  Relays relays{engine_under_test()};
  TcpProxy network{relays.server.port()};
  network.delay(3ms);
  const Relays::Settings settings{{"OUTBOX_LEASE_MS", "500"}, {"NATS_URL", network.url()}};
  Writers writers{relays.outbox, {.largest_commit = 4, .longest_pause = 20ms, .seed = seed}};
  for (int kill = 0; kill < kills; ++kill) {
    const auto epoch = relays.epoch();
    const auto published = relays.published();
    auto relay = relays.start(settings);
    // Some are killed while they start, some when they have just taken over, some in full swing.
    if (kill % 5 > 0) REQUIRE_WITHIN(20s, relays.epoch() > epoch);
    if (kill % 5 > 2) REQUIRE_WITHIN(20s, relays.published() > published);
    random_pause(random, 1ms, 40ms);
    // Every other one as if its machine was lost, with what it has sent and what is sent to it.
    if (kill % 2 == 0) network.cut();
    relay.kill(SIGKILL);
    REQUIRE(relay.wait() == killed_by(SIGKILL));
    relays.expire_lease();  // that a lease runs out is another test's matter
  }
  writers.stop();
  const auto published_by_killed = relays.published();
  INFO(writers.committed() << " events, " << published_by_killed << " marked by relays that were killed");
  CHECK(published_by_killed > kills);  // they did not only start
  CHECK(relays.outbox.count("true") == writers.committed());
  auto last = relays.start(settings, {"--drain"});
  REQUIRE(last.wait(60s) == exited(0));
  CHECK(relays.audit() == "");
}

TEST_CASE("of two, three and ten relays one publishes, and SIGTERM hands over long before the lease ends",
          "[engines]") {
  const int size = GENERATE(2, 3, 10);
  INFO(size << " relays");
  Relays relays{engine_under_test(), {.monitoring = true}};
  Crowd crowd{relays, long_lease};
  crowd.grow(size);
  Writers writers{relays.outbox, {.writers = 2, .seed = random_seed()}};
  for (int round = 0; round < 4; ++round) {
    REQUIRE_WITHIN(20s, crowd.has_active() && crowd.all_connected());
    // The one that took over has looked for the stream, and has begun.
    const auto taken_over = relays.published();
    REQUIRE_WITHIN(20s, relays.published() > taken_over + 20);
    const auto sent = sent_by_connection(relays.server);
    const auto before = relays.published();
    // Marks may be of what was sent before the count.
    REQUIRE_WITHIN(20s, relays.published() > before + 100 && sending_since(sent, relays.server) > 0);
    CHECK(sending_since(sent, relays.server) == 1);

    auto victim = crowd.take_active();
    const auto begun = Clock::now();
    victim.kill(SIGTERM);
    REQUIRE_WITHIN(20s, crowd.has_active());
    const auto took = milliseconds_since(begun);
    INFO("taken over after " << took << " ms");
    CHECK(took < 5000);
    CHECK(victim.wait() == exited(0));
    crowd.grow(size);
  }
  writers.stop();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.audit() == "");
  CHECK(crowd.stop() == 0);
}

TEST_CASE("of two, three and ten relays one takes over within the lease when the active one is killed",
          "[engines]") {
  const int size = GENERATE(2, 3, 10);
  const auto seed = random_seed();
  INFO(size << " relays, TIDINGS_SEED=" << seed);
  std::mt19937 random{seed};
  Relays relays{engine_under_test(), {.monitoring = true}};
  Crowd crowd{relays, short_lease};
  crowd.grow(size);
  Writers writers{relays.outbox, {.writers = 2, .seed = seed}};
  for (int round = 0; round < 4; ++round) {
    REQUIRE_WITHIN(20s, crowd.has_active());
    const auto before = relays.published();
    REQUIRE_WITHIN(20s, relays.published() > before + 50);
    random_pause(random, 0ms, 30ms);
    auto victim = crowd.take_active();
    const auto begun = Clock::now();
    victim.kill(SIGKILL);
    REQUIRE(victim.wait() == killed_by(SIGKILL));
    REQUIRE_WITHIN(20s, crowd.has_active());
    const auto took = milliseconds_since(begun);
    INFO("taken over after " << took << " ms");
    CHECK(took < 5000);
    crowd.grow(size);
  }
  REQUIRE_WITHIN(20s, crowd.all_connected());
  const auto sent = sent_by_connection(relays.server);
  const auto before = relays.published();
  REQUIRE_WITHIN(20s, relays.published() > before + 100 && sending_since(sent, relays.server) > 0);
  CHECK(sending_since(sent, relays.server) == 1);
  writers.stop();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.audit() == "");
  CHECK(crowd.stop() == 0);
}

TEST_CASE("a blocked aggregate's attempts are counted across kills, and its next event goes after the last",
          "[engines]") {
  Relays relays{engine_under_test()};
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  const auto first = relays.outbox.add("hot");
  const auto second = relays.outbox.add("hot", json_of_size(2000));
  const auto third = relays.outbox.add("hot");
  const auto retries = [&] { return std::stoi(relays.outbox.value(second, "retryCount")); };
  const auto third_is_out = [&] {
    for (const auto& message : relays.jetstream.messages("AUTH_EVENTS"))
      if (message.header("ce-id") == third) return true;
    return false;
  };
  // Long enough for a kill between two attempts.
  const Relays::Settings settings{
      {"OUTBOX_LEASE_MS", "500"}, {"OUTBOX_BACKOFF_BASE_MS", "600"}, {"OUTBOX_BACKOFF_MAX_MS", "800"}};
  std::string log;
  for (int attempt = 1; attempt <= 4; ++attempt) {
    auto relay = relays.start(settings);
    REQUIRE_WITHIN(20s, retries() == attempt);
    relay.kill(SIGKILL);
    REQUIRE(relay.wait() == killed_by(SIGKILL));
    log += relay.err();
    REQUIRE(relays.outbox.value(second, "status") == "FAILED");
    CHECK(relays.outbox.value(third, "status") == "PENDING");
    CHECK_FALSE(third_is_out());
    relays.expire_lease();
  }
  auto last = relays.start(settings);
  REQUIRE_WITHIN(20s, relays.outbox.value(third, "status") == "PUBLISHED");
  CHECK(relays.outbox.value(second, "status") == "DEAD_LETTER");
  CHECK(retries() == 5);
  CHECK(relays.outbox.value(third, "retryCount") == "0");
  last.kill(SIGTERM);
  CHECK(last.wait() == exited(0));
  log += last.err();

  for (int attempt = 1; attempt <= 5; ++attempt)
    CHECK(occurrences(log, " id=" + second + " attempt=" + std::to_string(attempt) + " ") == 1);
  CHECK(occurrences(log, " attempt=") == 5);
  const auto stream = relays.jetstream.messages("AUTH_EVENTS");
  REQUIRE(stream.size() == 2);
  CHECK(stream[0].header("ce-id") == first);
  CHECK(stream[1].header("ce-id") == third);
}
