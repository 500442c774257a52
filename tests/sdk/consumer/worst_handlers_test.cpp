// A group of three instances, each started again whenever it ends, whose handler does its worst on a few
// events among many, of which two more are nested too deep: the others are handled once, these end as dead
// letters that say why, and the status has told the truth meanwhile. TIDINGS_TEST_EVENTS says how many
// events, if not 2,000.

#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/environment.hpp"
#include "support/journal.hpp"
#include "support/misdeeds.hpp"
#include "support/supervised_group.hpp"

#include <tidings/postgres_connection.hpp>

#include <algorithm>
#include <csignal>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;
using std::chrono::steady_clock;

namespace {

const char* const servant = "a consumer whose handler does its worst (runs in a process of its own)";
constexpr int bad_events = 5;

bool on_postgres() { return engine_under_test() == Engine::postgres; }

bool is_bad(const std::string& event_id) { return event_id.starts_with("bad-"); }

/// Sees an instance say that all is well a second after its handler was overdue.
class TruthTeller {
 public:
  TruthTeller(const Consumer<TestInbox>& consumer, const Journal& journal)
      : consumer_(consumer), journal_(journal), thread_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) look();
        }) {}

  void begins(std::uint64_t sequence) {
    const std::lock_guard lock{mutex_};
    sequence_ = sequence;
    overdue_from_ = steady_clock::now() + misdeed_time_limit + 1s;
  }
  void ends() { begins(0); }

 private:
  void look() {
    take_time(20ms);
    const std::lock_guard lock{mutex_};
    if (sequence_ == 0 || steady_clock::now() < overdue_from_) return;
    const auto status = consumer_.status();
    const auto handler = "the handler of the message at sequence " + std::to_string(sequence_) + " of ";
    const bool true_status =
        status.state == ConsumerStatus::State::waiting && status.reason.find(handler) != std::string::npos;
    journal_.add({{true_status ? "truth" : "lie", status.reason}, {"sequence", sequence_}});
    sequence_ = 0;  // once is enough
  }

  const Consumer<TestInbox>& consumer_;
  const Journal& journal_;
  std::mutex mutex_;  // guards what follows
  std::uint64_t sequence_ = 0;
  steady_clock::time_point overdue_from_{};
  std::jthread thread_;
};

const char* name_of(ConsumerStatus::State state) {
  using enum ConsumerStatus::State;
  switch (state) {
    case stopped:
      return "stopped";
    case joining:
      return "joining";
    case running:
      return "running";
    case waiting:
      return "waiting";
    case draining:
      return "draining";
    case paused:
      return "paused";
    case standby:
      return "standby";
  }
  return "";
}

/// Once in each mode of CloudEvents: no handler ever sees them.
void publish_too_deep(Scene& scene) {
  constexpr std::size_t depth = 200000;
  const auto deep = std::string(depth, '[') + std::string(depth, ']');
  scene.publish("deep", deep);
  scene.js.publish("auth.events.user.created",
                   R"({"specversion":"1.0","id":"deeper","type":"user.created","data":)" + deep + "}",
                   {{"content-type", "application/cloudevents+json"}});
}

std::vector<std::string> publish(Scene& scene, int count) {
  std::vector<std::string> good;
  int bad = 0;
  for (int i = 0; i < count; ++i) {
    if (i == count / 2) publish_too_deep(scene);
    if (i == (bad + 1) * count / (bad_events + 1) && bad < bad_events)
      scene.publish_for("user-" + std::to_string(i % 199), "bad-" + std::to_string(bad++));
    good.push_back("good-" + std::to_string(i));
    scene.publish_for("user-" + std::to_string(i % 199), good.back());
  }
  std::ranges::sort(good);
  return good;
}

/// All that was done with an event, in order.
std::vector<json> calls(const std::vector<json>& lines, const std::string& event_id) {
  std::vector<json> its;
  std::ranges::copy_if(lines, std::back_inserter(its), [&event_id](const auto& line) {
    return line.contains("misdeed") && line.at("event") == event_id;
  });
  return its;
}

void check_dead_letters(Scene& scene, const std::vector<json>& lines) {
  std::vector<std::string> dead;
  int too_deep = 0;
  for (const auto& letter : scene.dead_letters()) {
    const auto id = letter.header("ce-id");
    const auto reason = letter.header("tidings-reason");
    if (reason.find("deeper than 1000 levels") != std::string::npos) {
      ++too_deep;
      continue;
    }
    dead.push_back(id);
    const auto its = calls(lines, id);
    INFO(json(its).dump(1) << "\nand its reason is: " << reason);
    REQUIRE_FALSE(its.empty());
    const auto all = misdeeds(id);
    const auto misdeed =
        std::ranges::find_if(all, [&its](const auto& one) { return its.back().at("misdeed") == one.name; });
    CHECK(std::ranges::any_of(misdeed->reasons, [&reason](const auto& expected) {
      return reason.find(expected) != std::string::npos;
    }));
  }
  std::ranges::sort(dead);
  std::vector<std::string> bad;
  for (int i = 0; i < bad_events; ++i) bad.push_back("bad-" + std::to_string(i));
  CHECK(dead == bad);
  CHECK(too_deep == 2);
}

void check_status(const std::vector<json>& lines) {
  int hangs_told = 0;
  for (const auto& line : lines) {
    INFO(line.dump());
    CHECK_FALSE(line.contains("lie"));
    if (!line.contains("state") || line.at("state") != "waiting") continue;
    CHECK_FALSE(line.at("reason").get<std::string>().empty());
    if (line.at("reason").get<std::string>().starts_with("the handler of the message at sequence"))
      ++hangs_told;
  }
  const auto hangs = std::ranges::count_if(
      lines, [](const auto& line) { return line.contains("misdeed") && line.at("misdeed") == "hangs"; });
  CHECK(hangs > 0);
  CHECK(hangs_told == hangs);
}

}  // namespace

TEST_CASE(servant, "[.]") {
  if (environment("TIDINGS_TEST_URL").empty()) return;  // only for the test below
  for (const int signal : {SIGABRT, SIGTERM}) std::signal(signal, SIG_DFL);
  const Journal journal{environment("TIDINGS_TEST_JOURNAL")};
  auto options = consumer_of(environment("TIDINGS_TEST_URL"));
  options.ack_wait = 1s;
  options.handler_time_limit = misdeed_time_limit;
  options.backoff = {.base = 100ms};
  if (on_postgres() && environment("TIDINGS_TEST_HANGS") == "for ever")
    options.on_overdue = ConsumerOptions::Overdue::end_process;
  options.on_status = [&journal](const ConsumerStatus& status) {
    journal.add({{"state", name_of(status.state)}, {"reason", status.reason}});
  };
  TestInbox inbox{environment("TIDINGS_TEST_INBOX")};
  struct Cached {
    ~Cached() { forget_misdeeds(); }
  } const ends_before_inbox;
  Consumer consumer{inbox, options};
  TruthTeller truth{consumer, journal};
  consumer.on<json>("user.created", [&](const json&, Tx& tx, const Delivery& delivery) {
    const auto& id = delivery.event.id;
    if (!is_bad(id)) return tx.write_effect(id);
    const auto all = misdeeds(id);
    const auto& misdeed = all[calls(journal.lines(), id).size() % all.size()];
    // By a script, PostgreSQL commits what was written before.
    if (misdeed.name != std::string{"commits by a script"}) tx.write_effect(id);
    journal.add({{"event", id}, {"misdeed", misdeed.name}, {"attempt", delivery.attempt}});
    struct Watched {
      TruthTeller& truth;
      ~Watched() { truth.ends(); }
    } const watched{truth};
    truth.begins(delivery.stream_sequence);
    misdeed.commit(inbox);
    throw std::runtime_error(misdeed_error);
  });
  consumer.run();  // until SIGTERM
}

TEST_CASE("a handler that does its worst on a few events leaves all others handled once, within a minute") {
  const auto size = environment("TIDINGS_TEST_EVENTS");
  Scene scene;
  const auto journal_file = scene.folder / "journal";
  const Journal journal{journal_file};
  {
    TestInbox makes_tables{scene.inbox()};
    makes_tables.make_effects();
  }
  std::optional<PostgresConnection> holds_lock;
  if (on_postgres()) {
    holds_lock.emplace(scene.inbox()).connect();
    holds_lock->script("CREATE TABLE taken(id integer)");
    holds_lock->script("BEGIN; LOCK TABLE taken");
  }
  const auto good = publish(scene, size.empty() ? 2000 : std::stoi(size));

  SupervisedGroup group{servant, scene, journal, journal_file};
  const auto begun = steady_clock::now();
  const auto done = [&] {
    group.supervise();
    take_time(50ms);
    return scene.place.count("effect") >= static_cast<std::int64_t>(good.size()) && scene.all_acked();
  };
  const bool in_time = eventually(60s, done);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begun);
  INFO("took " << took.count() << " ms, in which " << group.ends() << " processes ended");
  const auto lines = journal.lines();
  REQUIRE(in_time);
  REQUIRE_WITHIN(20s, group.all_say_that_they_run());
  group.stop();

  auto effects = scene.effects();
  std::ranges::sort(effects);
  CHECK(effects == good);
  check_dead_letters(scene, lines);
  check_status(lines);
}
