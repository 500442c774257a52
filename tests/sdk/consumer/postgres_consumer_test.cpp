// The consumer on an inbox in PostgreSQL, with the broker and the database in trouble.

#include "support/gate.hpp"
#include "support/pgbouncer.hpp"
#include "support/postgres_instance.hpp"
#include "support/process.hpp"

#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

/// The stream hands out again soon what the frozen one has.
ConsumerOptions soon_handed_to_another(ConsumerOptions options) {
  options.ack_wait = 1s;
  return options;
}

const char* const frozen = "a consumer that freezes in its transaction (runs in a process of its own)";

Process start_frozen(const Scene& scene, const std::string& database) {
  return Process{
      std::filesystem::read_symlink("/proc/self/exe"),
      {frozen},
      {.environment = {{"TIDINGS_TEST_URL", scene.server.url()}, {"TIDINGS_TEST_FILE", database}}}};
}

bool one_stands_still(const PostgresServer& server) {
  return number(server,
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
                "query LIKE 'INSERT INTO effect %' AND state_change < now() - interval '300 ms'") == 1;
}

bool one_waits_for_a_lock(const PostgresServer& server) {
  return number(server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") > 0;
}

/// The inbox's sessions stand still while this lives.
class FrozenSessions {
 public:
  explicit FrozenSessions(const PostgresServer& server) {
    const auto sessions = query(server, R"sql(
        SELECT pid FROM pg_stat_activity
         WHERE application_name = 'tidings' AND backend_type = 'client backend' AND pid <> pg_backend_pid())sql");
    for (int row = 0; row < sessions.size(); ++row)
      pids_.push_back(static_cast<pid_t>(sessions.integer(row, 0)));
    send(SIGSTOP);
  }
  ~FrozenSessions() { send(SIGCONT); }
  FrozenSessions(const FrozenSessions&) = delete;
  FrozenSessions& operator=(const FrozenSessions&) = delete;

 private:
  void send(int signal) const {
    for (const auto pid : pids_) ::kill(pid, signal);
  }

  std::vector<pid_t> pids_;
};

}  // namespace

TEST_CASE("instances on several hosts share an inbox in PostgreSQL, and each event has one effect") {
  const PostgresServer postgres;
  Scene scene;
  constexpr int events = 2000;
  std::atomic<int> failures{0};
  {
    const auto fail_now_and_then = [&failures](const Delivery& delivery, PostgresTransaction&) {
      if (delivery.stream_sequence % 100 != 0 || delivery.attempt > 2) return;
      ++failures;
      throw std::runtime_error("not yet");
    };
    PostgresInstance one{postgres.url(), scene.options(), fail_now_and_then};
    PostgresInstance other{postgres.url(), scene.options(), fail_now_and_then};
    scene.publish_many(events);
    // The same events under other message ids: as after a relay's dedup window.
    for (int i = 0; i < 90; ++i)
      scene.js.publish(
          "auth.events.user.created", "{}",
          {{"Nats-Msg-Id", "again-" + std::to_string(i)}, {"ce-id", "event-" + std::to_string(i)}});
    REQUIRE_WITHIN(60s, one.stats().handled + other.stats().handled == events && scene.all_acked());
    CHECK(one.stats().duplicates + other.stats().duplicates == 90);
    CHECK(one.stats().dead_lettered + other.stats().dead_lettered == 0);
  }
  CHECK(failures == events / 100 * 2);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == events);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == events);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == events);
  CHECK(number(postgres, "SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE(
    "instances that share two sessions of PgBouncer in transaction mode have one effect of each event") {
  const PostgresServer postgres;
  PgBouncer pooler{postgres, {.sessions = 2}};
  Scene scene;
  constexpr int events = 1000;
  std::atomic<int> failures{0};
  const auto fail_now_and_then = [&failures](const Delivery& delivery, PostgresTransaction& tx) {
    if (delivery.stream_sequence % 50 != 0 || delivery.attempt > 1) return;
    if (header(delivery.headers, "Nats-Msg-Id").starts_with("again")) return;  // before its event's retry
    ++failures;
    tx.exec("INSERT INTO missing VALUES (1)");  // undone to the savepoint of its own
  };
  PostgresInstance one{pooler.url(), scene.options(), fail_now_and_then};
  PostgresInstance two{pooler.url(), scene.options(), fail_now_and_then};
  PostgresInstance three{pooler.url(), scene.options(), fail_now_and_then};
  scene.publish_many(events);
  for (int i = 0; i < 50; ++i)
    scene.js.publish(
        "auth.events.user.created", "{}",
        {{"Nats-Msg-Id", "again-" + std::to_string(i)}, {"ce-id", "event-" + std::to_string(i)}});
  const auto handled = [&] { return one.stats().handled + two.stats().handled + three.stats().handled; };
  REQUIRE_WITHIN(60s, handled() == events && scene.all_acked());
  CHECK(failures == events / 50);
  pooler.kill();
  scene.publish_many(300, "later");
  REQUIRE_WITHIN(20s, !one.status().ready() || !two.status().ready() || !three.status().ready());
  pooler.start();
  REQUIRE_WITHIN(60s, scene.all_acked());
  CHECK(one.stats().dead_lettered + two.stats().dead_lettered + three.stats().dead_lettered == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == events + 300);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == events + 300);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == events + 300);
  CHECK(number(postgres, "SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE("a consumer that is told to stop waits for one lock at most") {
  const PostgresServer postgres;
  Scene scene;
  { PostgresInbox makes_tables{postgres.url()}; }
  PostgresInstance instance{postgres.url() + "?options=-c lock_timeout=4000", scene.options()};
  REQUIRE_WITHIN(20s, instance.status().ready());
  PostgresConnection other{postgres.url()};
  other.connect();
  other.exec("BEGIN");
  other.exec("LOCK TABLE inbox");
  scene.publish("one");
  REQUIRE_WITHIN(10s, one_waits_for_a_lock(postgres));
  instance.ask_to_stop();
  REQUIRE_WITHIN(6s, instance.ended());
}

TEST_CASE("a PostgreSQL that crashes or is stopped uses no attempt, and each event has one effect") {
  PostgresServer postgres;
  Scene scene;
  constexpr int events = 1600;
  PostgresInstance instance{postgres.url(), scene.options()};
  int published = 0;
  const auto publish_some = [&] {
    for (int i = 0; i < events / 4; ++i) scene.publish("event-" + std::to_string(published++));
  };
  publish_some();
  REQUIRE_WITHIN(20s, instance.stats().handled > 100);
  postgres.kill();
  publish_some();  // who has nothing to do does not notice
  REQUIRE_WITHIN(20s, !instance.status().ready());
  CHECK_THAT(instance.status().reason, ContainsSubstring("inbox"));
  postgres.start();
  REQUIRE_WITHIN(20s, instance.status().ready());
  publish_some();
  postgres.stop();
  publish_some();
  REQUIRE_WITHIN(20s, !instance.status().ready());
  postgres.start();
  REQUIRE_WITHIN(60s, scene.all_acked());
  CHECK(instance.stats().retried == 0);
  CHECK(instance.stats().dead_lettered == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == events);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == events);
}

TEST_CASE("connections that an administrator ends use no attempt") {
  const PostgresServer postgres;
  Scene scene;
  PostgresInstance one{postgres.url(), scene.options()}, other{postgres.url(), scene.options()};
  constexpr int events = 2000;
  int ended = 0;
  for (int i = 0; i < events; ++i) {
    scene.publish("event-" + std::to_string(i));
    if (i % 100 == 50)
      ended += query(postgres,
                     "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                     "'tidings' AND pid <> pg_backend_pid()")
                   .size();
  }
  CHECK(ended > 0);
  REQUIRE_WITHIN(60s, scene.all_acked());
  CHECK(one.stats().retried + other.stats().retried == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == events);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == events);
}

TEST_CASE("of several hosts a consumer finds the one that takes writes, also when that changes under load") {
  PostgresServer postgres;
  const ReservedPort standby;
  const auto both = "postgresql://tidings@127.0.0.1:" + std::to_string(postgres.port()) +
                    ",127.0.0.1:" + std::to_string(standby.number()) + "/postgres";
  Scene scene;
  PostgresInstance one{both, scene.options()}, other{both, scene.options()};
  scene.publish_many(3000, "before");
  REQUIRE_WITHIN(20s, one.stats().handled + other.stats().handled > 100);
  postgres.kill();
  scene.publish_many(1000, "after");
  postgres.start_at(standby.number());
  REQUIRE_WITHIN(60s, scene.all_acked());
  for (const auto* instance : {&one, &other}) {
    CHECK(instance->status().ready());
    CHECK(instance->stats().retried == 0);
    CHECK(instance->stats().dead_lettered == 0);
  }
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 4000);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == 4000);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 4000);
}

TEST_CASE("a serialization failure is a transient error of the database and not the event's") {
  const PostgresServer postgres;
  Scene scene;
  std::atomic<int> failures{0};
  PostgresInstance instance{postgres.url(), scene.options(),
                            [&failures](const Delivery& delivery, PostgresTransaction& tx) {
                              CHECK(delivery.attempt == 1);
                              if (++failures <= 3) tx.exec("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$");
                            }};
  scene.publish("one");
  REQUIRE_WITHIN(20s, instance.stats().handled == 1);
  CHECK(instance.stats().retried == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 1);
}

TEST_CASE(frozen, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the tests below
  PostgresInbox inbox{std::getenv("TIDINGS_TEST_FILE")};
  Consumer consumer{inbox, soon_handed_to_another(consumer_of(url))};
  const auto handle = [](const nlohmann::json&, PostgresTransaction& tx, const Delivery& delivery) {
    tx.exec("INSERT INTO effect VALUES ($1)", delivery.event.id);
    if (delivery.event.id == "event-3" && delivery.delivered == 1) std::raise(SIGSTOP);
  };
  consumer.on<nlohmann::json>("user.created", handle);
  consumer.run();  // until SIGTERM
}

TEST_CASE(
    "an instance that freezes in its transaction stops its group for a while only, with one effect of each "
    "event") {
  const PostgresServer postgres;
  std::optional<PgBouncer> pooler;
  if (GENERATE(false, true)) pooler.emplace(postgres, PgBouncerOptions{.sessions = 3});
  Scene scene;
  auto url = postgres.url() + "?options=-c idle_in_transaction_session_timeout=3000";
  if (pooler) {
    query(postgres, "ALTER ROLE tidings SET idle_in_transaction_session_timeout = 3000");
    url = pooler->url();
  }
  query(postgres, "CREATE TABLE effect(id text)");
  scene.publish_many(10);
  std::optional<PostgresInstance> other;  // whose end needs the child's
  auto child = start_frozen(scene, url);
  REQUIRE_WITHIN(30s, one_stands_still(postgres));
  scene.publish_many(10, "later");
  other.emplace(url, soon_handed_to_another(scene.options()));
  REQUIRE_WITHIN(60s, number(postgres, "SELECT count(*) FROM effect") == 20 && scene.all_acked());
  child.resume();
  REQUIRE_WITHIN(
      20s,
      number(postgres, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == 0);
  scene.publish_many(200, "both");
  REQUIRE_WITHIN(60s, number(postgres, "SELECT count(*) FROM effect") == 220 && scene.all_acked());
  CHECK(other->stats().retried + other->stats().dead_lettered == 0);
  other.reset();
  scene.publish_many(20, "its");
  REQUIRE_WITHIN(60s, number(postgres, "SELECT count(*) FROM effect") == 240 && scene.all_acked());
  child.kill(SIGTERM);
  CHECK(child.wait() == exited(0));
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == 240);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 240);
  CHECK(number(postgres, "SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE("a consumer that waits for what a frozen one holds says so, and ends when it is told to") {
  const PostgresServer postgres;
  std::optional<PgBouncer> pooler;
  if (GENERATE(false, true)) pooler.emplace(postgres, PgBouncerOptions{.sessions = 3});
  const auto url = pooler ? pooler->url() : postgres.url();
  Scene scene;
  query(postgres, "CREATE TABLE effect(id text)");
  scene.publish_many(10);
  std::optional<PostgresInstance> other;  // whose end needs the child's
  const auto child = start_frozen(scene, url);
  REQUIRE_WITHIN(30s, one_stands_still(postgres));
  other.emplace(url, soon_handed_to_another(scene.options()));
  REQUIRE_WITHIN(30s, other->status().reason.find("lock timeout") != std::string::npos);
  REQUIRE_WITHIN(30s, one_waits_for_a_lock(postgres));
  other->ask_to_stop();
  REQUIRE_WITHIN(20s, other->ended());
  CHECK(other->stats().handled + other->stats().retried == 0);
  CHECK(one_stands_still(postgres));
}

TEST_CASE("a handler that ends too late leaves the count to who has started its event since") {
  const PostgresServer postgres;
  Scene scene;
  auto options = scene.options();
  options.ack_wait = 500ms;
  options.handler_time_limit = 300ms;
  options.on_overdue = ConsumerOptions::Overdue::wait;
  Gate late, other;
  PostgresInstance first{postgres.url(), options, [&late](const Delivery& delivery, PostgresTransaction&) {
                           if (delivery.attempt == 1) throw std::runtime_error("mail server down");
                           late.pass();
                         }};
  scene.publish("one");
  REQUIRE_WITHIN(10s, late.entered() == 1);
  options.handler_time_limit = 60s;
  PostgresInstance second{postgres.url(), options,
                          [&other](const Delivery&, PostgresTransaction&) { other.pass(); }};
  REQUIRE_WITHIN(20s, other.entered() == 1);
  late.open();
  REQUIRE_WITHIN(10s, first.stats().fenced == 1);
  CHECK(number(postgres, "SELECT starts FROM inbox_attempt") == 3);
  other.open();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(second.stats().handled == 1);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 1);
  CHECK(number(postgres, "SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE(
    "a stop ends in time although PostgreSQL does not answer a commit, and the status says what waits") {
  const int workers = GENERATE(0, 2);
  const bool stand_still = GENERATE(false, true);
  CAPTURE(workers, stand_still);
  const PostgresServer postgres{{"synchronous_commit=on"}};
  Scene scene;
  auto options = with_workers(scene.options(), workers);
  options.drain_timeout = 1s;
  PostgresInbox inbox{postgres.url()};
  Consumer consumer{inbox, options};
  consumer.on("user.created", [](const Delivery&) {});
  std::atomic<bool> ended{false};
  std::jthread running{[&](const std::stop_token& stop) {
    consumer.run(stop);
    ended = true;
  }};
  std::optional<FrozenSessions> sessions;
  scene.publish("answered");
  REQUIRE_WITHIN(10s, scene.all_acked());

  if (stand_still) {
    sessions.emplace(postgres);
  } else {  // commits wait for a standby that will never come
    PostgresConnection operating{postgres.url()};
    operating.connect();
    operating.script("SET synchronous_commit = local");
    operating.script("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    operating.script("SELECT pg_reload_conf()");
  }
  // The server heeds a setting a moment later: until then commits are answered.
  int published = 0;
  REQUIRE_WITHIN(20s, (scene.publish("event-" + std::to_string(published++)), !consumer.status().ready()));
  CHECK(consumer.status().reason == "inbox: the database does not answer");
  const auto asked = std::chrono::steady_clock::now();
  running.request_stop();
  REQUIRE_WITHIN(10s, ended);
  CHECK(std::chrono::steady_clock::now() - asked < 2500ms);  // on a busy machine
}
