// A consumer whose process, server, network or file fails under it.

#include "consuming.hpp"
#include "support/process.hpp"
#include "support/tcp_proxy.hpp"

#include <nats/nats.h>
#include <sqlite3.h>

#include <csignal>
#include <cstdlib>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

constexpr std::int64_t second = 1'000'000'000;

const char* const victim = "a consumer that dies (runs in a process of its own)";

/// A consumer in a process of its own, which dies at a place that the test names.
Process start_victim(const Scene& scene, const std::string& dies) {
  return Process{std::filesystem::read_symlink("/proc/self/exe"),
                 {victim},
                 {.environment = {{"TIDINGS_TEST_URL", scene.server.url()},
                                  {"TIDINGS_TEST_FILE", scene.file.string()},
                                  {"TIDINGS_TEST_DIES", dies}},
                  .input = {},
                  .log_folder = {}}};
}

bool effect_is_written = false;
int die_after_commit(void*, sqlite3*, const char*, int) {
  if (effect_is_written) std::raise(SIGKILL);
  return SQLITE_OK;
}

/// A server on which acks of the user `mute` are lost.
const char* const acks_lost = R"(authorization { users: [ { user: test, password: test }, {
  user: mute, password: mute, permissions: { publish: { deny: ["$JS.ACK.>"] } } } ] })";

ConsumerOptions as(const std::string& user, ConsumerOptions options) {
  options.connection.user = options.connection.password = user;
  return options;
}

}  // namespace

TEST_CASE(victim, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the tests below
  std::signal(SIGABRT, SIG_DFL);
  const std::string dies = std::getenv("TIDINGS_TEST_DIES");
  auto options = consumer_of(url);
  options.ack_wait = 300ms;
  options.max_attempts = 2;
  options.max_batch_time = 10s;
  Instance instance{std::getenv("TIDINGS_TEST_FILE"), options,
                    [&](const Delivery& delivery, SQLite::Database&) {
                      effect_is_written = true;
                      if (dies == "in the handler" && delivery.event.id == "killer") std::abort();
                    }};
  if (dies == "after the commit")
    sqlite3_wal_hook(instance.inbox.database().getHandle(), die_after_commit, nullptr);
  instance.start();
  REQUIRE_WITHIN(60s, instance.ended());
}

TEST_CASE("a process killed between commit and ack leads to redelivery without a second effect") {
  Scene scene;
  scene.publish_many(3);
  CHECK(start_victim(scene, "after the commit").wait() == killed_by(SIGKILL));
  const auto committed = scene.effects().size();  // its first batch: one to three
  CHECK(committed >= 1);
  CHECK(scene.group().acked_to == 0);
  CHECK(scene.group().num_ack_pending == 3);

  Instance instance{scene.file, scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.stats().duplicates == committed);
  CHECK(instance.calls().size() == 3 - committed);
  CHECK(scene.effects().size() == 3);
}

TEST_CASE("a message that kills its process ends as a dead letter, and its neighbours are handled") {
  Scene scene;
  scene.publish("before");
  scene.publish("killer");
  scene.publish("after");
  // As a supervisor does: start it again each time it dies.
  int deaths = 0;
  for (std::optional<Process> process; scene.dead_letters().empty();) {
    process.emplace(start_victim(scene, "in the handler"));
    REQUIRE_WITHIN(20s, !process->running() || !scene.dead_letters().empty());
    if (!scene.dead_letters().empty()) {
      REQUIRE_WITHIN(10s, scene.all_acked());
      break;
    }
    CHECK(process->wait() == killed_by(SIGABRT));
    REQUIRE(++deaths < 10);
  }
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("ce-id") == "killer");
  CHECK(letters[0].header("tidings-reason") == "the process ended while handling it");
  CHECK(letters[0].header("tidings-attempts") == "2");
  CHECK(deaths == 2);  // max_attempts, the one in a batch included
  auto effects = scene.effects();
  std::ranges::sort(effects);
  CHECK(effects == std::vector<std::string>{"after", "before"});
}

TEST_CASE("a message whose ack is lost comes back without a second effect") {
  Scene scene{acks_lost, "test:test@"};
  auto options = as("mute", scene.options());
  options.ack_wait = 200ms;
  Instance instance{scene.file, options};
  scene.publish_many(5);
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().duplicates >= 10);
  instance.stop();
  CHECK(instance.calls().size() == 5);
  CHECK(instance.stats().handled == 5);
  CHECK(scene.effects().size() == 5);
}

TEST_CASE("what another instance handled and could not ack has no second effect here") {
  Scene scene{acks_lost, "test:test@"};
  auto options = as("mute", scene.options());
  options.ack_wait = 200ms;
  Instance mute{scene.file, options};
  scene.publish_many(20);
  mute.start();
  REQUIRE_WITHIN(10s, mute.stats().handled == 20);
  mute.stop();
  Instance other{scene.file, as("test", scene.options())};
  other.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(other.calls().empty());
  CHECK(other.stats().duplicates == 20);
  CHECK(scene.effects().size() == 20);
}

TEST_CASE("a connection cut while a handler runs costs a redelivery and no second effect") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.ack_wait = 300ms;
  Instance instance{scene.file, options, on_event("one", [&] {
                      proxy.refuse(true);
                      proxy.cut();
                    })};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  CHECK(scene.group().num_ack_pending == 1);  // the ack went nowhere
  proxy.refuse(false);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.stats().duplicates >= 1);
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  scene.publish("two");
}

TEST_CASE("a server that is started again while a consumer runs is used within a second or so") {
  Scene scene;
  auto options = scene.options();
  options.ack_wait = 500ms;  // a killed server has forgotten acks
  Instance instance{scene.file, options};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  auto fastest = steady_clock::duration::max();
  for (int round = 0; round < 3; ++round) {
    if (round == 1) {
      scene.server.kill();
    } else {
      scene.server.stop();
    }
    scene.server.start();
    scene.publish("after-" + std::to_string(round));
    const auto published = steady_clock::now();
    REQUIRE_WITHIN(10s, instance.stats().handled == static_cast<std::uint64_t>(round) + 2);
    fastest = std::min(fastest, steady_clock::now() - published);
  }
  CHECK(fastest < 1500ms);  // of several, since the machine may have its own pauses
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "after-0", "after-1", "after-2"});
}

TEST_CASE("a cut connection costs an idle consumer no second") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.ack_wait = 200ms;  // a message may still be sent into the old connection
  Instance instance{scene.file, options};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  auto fastest = steady_clock::duration::max();
  for (std::uint64_t round = 1; round <= 3; ++round) {
    const auto accepted = proxy.accepted();
    proxy.cut();
    REQUIRE_WITHIN(10s, proxy.accepted() > accepted);
    scene.publish("after-" + std::to_string(round));
    const auto published = steady_clock::now();
    REQUIRE_WITHIN(10s, instance.stats().handled == round + 1);
    fastest = std::min(fastest, steady_clock::now() - published);
  }
  CHECK(fastest < 700ms);
}

TEST_CASE("a group that has a new leader is asked for messages at once") {
  Scene scene;
  Instance instance{scene.file, scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, scene.has_group() && scene.group().num_waiting == 1);
  Connection connection{scene.options().connection};
  // Nothing is silent here, so that nothing else makes it ask again.
  REQUIRE(natsConnection_PublishString(connection.native(),
                                       "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.AUTH_EVENTS.mailer",
                                       "{}") == NATS_OK);
  REQUIRE(connection.flush(5s));
  REQUIRE_WITHIN(5s, scene.group().num_waiting == 2);
}

TEST_CASE("a broker that is away at the start is waited for, and a stop ends the wait") {
  Scene scene;
  scene.server.stop();
  Instance instance{scene.file, scene.options()}, other{scene.folder / "other.db", scene.options()};
  instance.start();
  other.start();
  const auto begun = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > begun + 100ms);
  CHECK_FALSE(instance.ended());
  other.stop();
  CHECK(other.error().empty());
  scene.server.start();
  scene.publish("one");
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
}

TEST_CASE("a refused login ends the run with an error") {
  Scene scene{acks_lost, "test:test@"};
  Instance instance{scene.file, as("stranger", scene.options())};
  instance.start();
  REQUIRE_WITHIN(10s, instance.ended());
  CHECK_THAT(instance.error(), ContainsSubstring("refuses the login"));
}

TEST_CASE("a stream that differs ends the run with an error") {
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"storage", "memory"}});
  Instance instance{scene.file, scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.ended());
  CHECK_THAT(instance.error(), ContainsSubstring("storage memory, needed is file"));
}

TEST_CASE("a consumer leaves the dedup window of a stream to its publisher") {
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"duplicate_window", second}});
  scene.js.add_stream("AUTH_DLQ", {"auth.dlq.>"}, {{"duplicate_window", 600 * second}});
  scene.publish("one");
  Instance instance{scene.file, scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
}

TEST_CASE("a stream that does not exist yet is waited for when it must not be made") {
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  auto options = scene.options();
  options.manage_streams = false;
  Instance instance{scene.file, options};
  instance.start();
  const auto begun = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > begun + 200ms);
  CHECK_FALSE(instance.ended());
  CHECK_FALSE(scene.js.has_stream("AUTH_EVENTS"));
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  scene.publish("one");
  REQUIRE_WITHIN(10s, instance.stats().handled + (instance.ended() ? 1 : 0) == 1);
  CHECK(instance.error().empty());
}

TEST_CASE("a group that is deleted while its consumer runs is made again, without second effects") {
  Scene scene;
  Instance instance{scene.file, scene.options()};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  REQUIRE_WITHIN(10s, scene.group().num_waiting == 1);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish("two");
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
}

TEST_CASE("a group that is deleted while its consumer is cut off is made again") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  Instance instance{scene.file, consumer_of(proxy.url())};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  proxy.refuse(true);
  proxy.cut();
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish("two");
  proxy.refuse(false);
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
}

TEST_CASE("an inbox that another locks uses no attempt, and the messages are handled after it") {
  Scene scene;
  scene.publish("one");
  Instance instance{scene.file, scene.options()};
  instance.inbox.database().setBusyTimeout(1);
  {
    SQLite::Database other{scene.file.string(), SQLite::OPEN_READWRITE};
    other.exec("BEGIN IMMEDIATE");
    instance.start();
    // It needs the inbox before it takes messages (it forgets old ids), and must wait there.
    REQUIRE_WITHIN(10s, scene.has_group());
    scene.publish("two");
    const auto begun = steady_clock::now();
    REQUIRE_WITHIN(10s, steady_clock::now() > begun + 300ms);
    CHECK(instance.calls().empty());
    CHECK_FALSE(instance.ended());
  }
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
  CHECK(instance.stats().retried == 0);
  for (const auto& call : instance.calls()) CHECK(call.attempt == 1);
}

TEST_CASE("a lock that a handler runs into uses no attempt, at the first delivery and at a later one") {
  Scene scene;
  const auto locked = scene.folder / "other.db";
  sqlite::execute(locked, "CREATE TABLE other(id)");
  SQLite::Database holder{locked.string(), SQLite::OPEN_READWRITE};
  holder.setBusyTimeout(10000);  // a handler that looks at the file can be in the way of the commit
  auto options = scene.options();
  options.max_attempts = 2;
  bool fails = true;
  Instance instance{
      scene.file, options, on_event("one", [&] {
        SQLite::Database{locked.string(), SQLite::OPEN_READWRITE}.exec("INSERT INTO other VALUES (1)");
        if (!std::exchange(fails, false)) return;
        holder.exec("BEGIN IMMEDIATE");  // and it is locked again when the message comes back
        throw std::runtime_error("once");
      })};
  const auto calls_of_attempt = [&](int attempt) {
    return std::ranges::count(instance.calls(), attempt, &Call::attempt);
  };
  holder.exec("BEGIN IMMEDIATE");
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, calls_of_attempt(1) >= 3);
  CHECK(instance.stats().retried == 0);
  holder.exec("COMMIT");
  REQUIRE_WITHIN(10s, calls_of_attempt(2) >= 3);
  CHECK(instance.stats().retried == 1);
  holder.exec("COMMIT");
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.dead_letters().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  for (const auto& call : instance.calls()) CHECK(call.delivered == static_cast<std::uint64_t>(call.attempt));
}

TEST_CASE("a stop ends the wait for a locked inbox, and the messages go back") {
  Scene scene;
  const auto locked = scene.folder / "other.db";
  sqlite::execute(locked, "CREATE TABLE other(id)");
  SQLite::Database holder{locked.string(), SQLite::OPEN_READWRITE};
  holder.exec("BEGIN IMMEDIATE");
  Instance waiting{
      scene.file, scene.options(), [&](const Delivery&, SQLite::Database&) {
        SQLite::Database{locked.string(), SQLite::OPEN_READWRITE}.exec("INSERT INTO other VALUES (1)");
      }};
  scene.publish_many(5);
  waiting.start();
  REQUIRE_WITHIN(10s, waiting.calls().size() >= 2);
  waiting.stop();
  CHECK(waiting.error().empty());
  Instance other{scene.file, scene.options()};
  other.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(scene.effects().size() == 5);
  for (const auto& call : other.calls()) CHECK(call.attempt == 1);
}
