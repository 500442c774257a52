// The consumer on an inbox in PostgreSQL, with the broker and the database in trouble.

#include "consuming.hpp"
#include "support/pgbouncer.hpp"
#include "support/postgres_server.hpp"
#include "support/process.hpp"

#include <tidings/postgres_inbox.hpp>

#include <csignal>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

/// One instance, as on a host of its own.
class PostgresInstance {
 public:
  using Handler = std::function<void(const Delivery&, PostgresDatabase&)>;

  PostgresInstance(const std::string& database, ConsumerOptions options, Handler handler = {})
      : inbox_(database), consumer_(inbox_, std::move(options)) {
    inbox_.database().exec("CREATE TABLE IF NOT EXISTS effect(id text)");
    consumer_.on<nlohmann::json>("user.created",
                                 [handler = std::move(handler)](const nlohmann::json&, PostgresDatabase& tx,
                                                                const Delivery& delivery) {
                                   tx.exec("INSERT INTO effect VALUES ($1)", delivery.event.id);
                                   if (handler) handler(delivery, tx);
                                 });
    thread_ = std::jthread([this](const std::stop_token& stop) {
      consumer_.run(stop);
      ended_ = true;
    });
  }

  void ask_to_stop() { thread_.request_stop(); }
  [[nodiscard]] bool ended() const { return ended_; }

  [[nodiscard]] ConsumerStats stats() const { return consumer_.stats(); }
  [[nodiscard]] ConsumerStatus status() const { return consumer_.status(); }

 private:
  PostgresInbox inbox_;
  Consumer<PostgresInbox> consumer_;
  std::atomic<bool> ended_{false};
  std::jthread thread_;
};

PostgresRows query(const PostgresServer& server, const std::string& statement) {
  PostgresDatabase database{server.url()};
  database.connect();
  return database.exec(statement);
}

std::int64_t number(const PostgresServer& server, const std::string& statement) {
  return query(server, statement).integer(0, 0);
}

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

}  // namespace

TEST_CASE("instances on several hosts share an inbox in PostgreSQL, and each event has one effect") {
  const PostgresServer postgres;
  Scene scene;
  constexpr int events = 2000;
  std::atomic<int> failures{0};
  {
    const auto fail_now_and_then = [&failures](const Delivery& delivery, PostgresDatabase&) {
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
  const auto fail_now_and_then = [&failures](const Delivery& delivery, PostgresDatabase& tx) {
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
  PostgresDatabase other{postgres.url()};
  other.connect();
  other.exec("BEGIN");
  other.exec("LOCK TABLE inbox");
  scene.publish("one");
  REQUIRE_WITHIN(10s, one_waits_for_a_lock(postgres));
  instance.ask_to_stop();
  REQUIRE_WITHIN(6s, instance.ended());
}

TEST_CASE("a statement that PostgreSQL refuses undoes its own event alone, also when the handler hides it") {
  const PostgresServer postgres;
  Scene scene;
  const bool hides = GENERATE(false, true);
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInstance instance{postgres.url(), options, [hides](const Delivery& delivery, PostgresDatabase& tx) {
                              if (delivery.event.id != "bad") return;
                              try {
                                tx.exec("INSERT INTO missing VALUES (1)");
                              } catch (const PostgresError&) {
                                if (!hides) throw;
                              }
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'bad'") == 0);
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"),
             ContainsSubstring(hides ? "the handler went on" : "\"missing\""));
}

TEST_CASE(
    "a queued statement that PostgreSQL refuses undoes its own event alone, whoever comes to hear of it") {
  enum class Next { queues, runs, hides_the_error, hides_it_and_goes_on, goes_back_to_a_savepoint };
  const PostgresServer postgres;
  Scene scene;
  const auto next = GENERATE(Next::queues, Next::runs, Next::hides_the_error, Next::hides_it_and_goes_on,
                             Next::goes_back_to_a_savepoint);
  CAPTURE(next);
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInbox inbox{postgres.url()};
  inbox.database().exec("CREATE TABLE effect(id text)");
  Consumer consumer{inbox, options};
  const auto handle = [next](const nlohmann::json&, PostgresDatabase& tx, const Delivery& delivery) {
    if (next == Next::goes_back_to_a_savepoint) tx.queue("SAVEPOINT its_own");
    tx.queue("INSERT INTO effect VALUES ($1)", delivery.event.id);
    if (delivery.event.id == "bad") tx.queue("INSERT INTO effect VALUES (1 / 0)");
    if (delivery.event.id != "fine-3" || next == Next::queues) return;
    try {
      tx.exec("SELECT 1");
    } catch (const PostgresError&) {
      if (next == Next::runs) throw;
      if (next == Next::hides_it_and_goes_on) tx.exec("SELECT 2");
      if (next == Next::goes_back_to_a_savepoint) tx.exec("ROLLBACK TO SAVEPOINT its_own");
    }
  };
  consumer.on<nlohmann::json>("user.created", handle);
  std::jthread thread{[&](const std::stop_token& stop) { consumer.run(stop); }};
  REQUIRE_WITHIN(20s, consumer.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(consumer.stats().handled == 40);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'bad'") == 0);
  CHECK(scene.dead_letters().at(0).header("ce-id") == "bad");
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"), ContainsSubstring("division by zero"));
}

TEST_CASE(
    "a handler that ends the inbox's transaction fails alone, however it does that and wherever its event "
    "stands") {
  using Way = std::pair<const char*, std::function<void(PostgresDatabase&)>>;
  const auto way = GENERATE(values<Way>({
      {"rolls back", [](auto& tx) { tx.exec("ROLLBACK"); }},
      {"commits", [](auto& tx) { tx.exec("/* all */ commit"); }},
      {"commits and begins anew",
       [](auto& tx) {
         tx.exec("COMMIT");
         tx.exec("BEGIN");
       }},
      {"hides the error",
       [](auto& tx) {
         try {
           tx.exec("ROLLBACK AND CHAIN");
         } catch (const PostgresError&) {
         }
       }},
      {"queues it", [](auto& tx) { tx.queue("COMMIT"); }},
      {"calls rollback()", [](auto& tx) { tx.rollback(); }},
      {"rolls back in a script", [](auto& tx) { tx.script("SELECT 1; ROLLBACK"); }},
      {"begins anew in a script", [](auto& tx) { tx.script("ROLLBACK; BEGIN"); }},
  }));
  const bool among_others = GENERATE(true, false);
  CAPTURE(way.first, among_others);
  const PostgresServer postgres;
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  if (!among_others) options.max_batch = 1;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInstance instance{postgres.url(), options, [way](const Delivery& delivery, PostgresDatabase& tx) {
                              if (delivery.event.id != "bad") return;
                              way.second(tx);
                              tx.exec("INSERT INTO effect VALUES ($1)", delivery.event.id);
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 40);
  // Where it cannot be refused, what follows the end is a transaction of its own.
  if (std::string{way.first} != "calls rollback()" && std::string{way.first} != "rolls back in a script")
    CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'bad'") == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 40);
  CHECK(scene.dead_letters().at(0).header("ce-id") == "bad");
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"),
             ContainsSubstring("must not end the inbox's transaction"));
}

TEST_CASE(
    "a script of a handler's that commits is seen too late for its own writes, and costs no other event") {
  const auto script = GENERATE("COMMIT", "COMMIT; BEGIN", "COMMIT AND CHAIN", "BEGIN; SELECT 1; COMMIT");
  CAPTURE(script);
  const PostgresServer postgres;
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInstance instance{postgres.url(), options,
                            [script](const Delivery& delivery, PostgresDatabase& tx) {
                              if (delivery.event.id == "bad") tx.script(script);
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 40);
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"),
             ContainsSubstring("must not end the inbox's transaction"));
}

TEST_CASE("a statement of a handler's that runs into statement_timeout is its event's error") {
  const PostgresServer postgres;
  Scene scene;
  const bool queued = GENERATE(false, true);
  const auto place =
      GENERATE("event-9", "event-3");  // the last of the batch, whose error the commit tells, and not
  CAPTURE(queued, place);
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(10);
  PostgresInstance instance{postgres.url() + "?options=-c statement_timeout=500", options,
                            [queued, place](const Delivery& delivery, PostgresDatabase& tx) {
                              if (delivery.event.id != place) return;
                              if (queued)
                                tx.queue("SELECT pg_sleep(60)");
                              else
                                tx.exec("SELECT pg_sleep(60)");
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 9);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 9);
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"), ContainsSubstring("statement timeout"));
}

TEST_CASE("a statement of the inbox's own that runs into statement_timeout uses no attempt") {
  const PostgresServer postgres;
  Scene scene;
  query(postgres, "CREATE TABLE effect(id text)");
  { PostgresInbox makes_tables{postgres.url()}; }
  PostgresDatabase other{postgres.url()};
  other.connect();
  other.exec("BEGIN");
  other.exec("LOCK TABLE inbox");
  PostgresInstance instance{postgres.url() + "?options=-c statement_timeout=300", scene.options()};
  scene.publish("one");
  REQUIRE_WITHIN(20s, instance.status().reason.find("statement timeout") != std::string::npos);
  other.exec("COMMIT");
  REQUIRE_WITHIN(20s, instance.stats().handled == 1 && scene.all_acked());
  CHECK(instance.stats().retried == 0);
}

TEST_CASE("a table that a handler reads may change its columns while the consumer runs") {
  const PostgresServer postgres;
  Scene scene;
  query(postgres, "CREATE TABLE account AS SELECT 1 AS id");
  PostgresInstance instance{postgres.url(), scene.options(),
                            [](const Delivery&, PostgresDatabase& tx) { tx.exec("SELECT * FROM account"); }};
  scene.publish_many(10, "before");
  REQUIRE_WITHIN(20s, scene.all_acked());
  query(postgres, "ALTER TABLE account ADD name text");
  scene.publish_many(10, "after");
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(instance.stats().handled == 20);
  CHECK(instance.stats().retried + instance.stats().dead_lettered == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 20);
}

TEST_CASE("a handler that changes a table between two reads of it fails, and holds nobody up") {
  const PostgresServer postgres;
  Scene scene;
  query(postgres, "CREATE TABLE account AS SELECT 1 AS id");
  auto options = scene.options();
  options.max_attempts = 2;
  PostgresInstance instance{postgres.url(), options, [](const Delivery& delivery, PostgresDatabase& tx) {
                              tx.exec("SELECT * FROM account");
                              if (delivery.event.id != "event-3") return;
                              tx.exec("ALTER TABLE account ADD name text");
                              tx.exec("SELECT * FROM account");
                            }};
  scene.publish_many(10);
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 9);
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

TEST_CASE("a serialization failure is the database's trouble and not the event's") {
  const PostgresServer postgres;
  Scene scene;
  std::atomic<int> failures{0};
  PostgresInstance instance{postgres.url(), scene.options(),
                            [&failures](const Delivery& delivery, PostgresDatabase& tx) {
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
  const auto handle = [](const nlohmann::json&, PostgresDatabase& tx, const Delivery& delivery) {
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
