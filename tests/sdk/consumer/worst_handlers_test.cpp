// A group of three instances, each started again whenever it ends, whose handler does its worst on a few
// events among many, of which two more are nested too deep: the others are handled once, these end as dead
// letters that say why, and the status has told the truth meanwhile. TIDINGS_TEST_EVENTS says how many
// events, if not 2,000.

#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/process.hpp"

#include <tidings/postgres_inbox.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;
using std::chrono::steady_clock;

namespace {

const char* const servant = "a consumer whose handler does its worst (runs in a process of its own)";
constexpr int instances = 3;
constexpr int bad_events = 5;
constexpr auto limit = 3s;
constexpr auto for_ever = 60s;

bool on_postgres() { return engine_under_test() == Engine::postgres; }

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string{} : value;
}

/// What the instances tell the test: JSON, one object a line.
class Journal {
 public:
  explicit Journal(std::filesystem::path file) : file_(std::move(file)) {}

  void add(json line) const {
    line["pid"] = ::getpid();
    std::ofstream{file_, std::ios::app} << line.dump() + '\n' << std::flush;
  }
  [[nodiscard]] std::vector<json> lines() const {
    std::vector<json> all;
    std::ifstream in{file_};
    for (std::string line; std::getline(in, line);) all.push_back(json::parse(line));
    return all;
  }

 private:
  std::filesystem::path file_;
};

// What handlers do at their worst. Where that throws nothing, the handler throws an error of its own then.

struct Misdeed {
  const char* name;
  void (*commit)(TestInbox& inbox);
  std::vector<std::string> reasons;  ///< of the dead letter when it was the last: one of them
};

constexpr const char* own_error = "at its worst";
constexpr const char* ended_process = "the process ended or hung while handling it";
constexpr const char* must_not_end = "must not end the inbox's transaction";

template <class Action>
void hidden(Action&& action) {
  try {
    action();
  } catch (const std::exception&) {
  }
}

void hang(TestInbox&) { take_time(setting("TIDINGS_TEST_HANGS") == "for ever" ? for_ever : limit + 2s); }

void abort_process(TestInbox&) { std::abort(); }

void throw_number(TestInbox&) { throw 7; }

[[maybe_unused]] void fork_and_terminate(TestInbox&) {
  const pid_t child = ::fork();
  if (child == 0)
    for (;;) ::pause();
  ::kill(child, SIGTERM);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
    throw std::logic_error("the child has survived");
}

std::vector<Misdeed> of_any() {
  return {{"hangs", hang, {"the handler ran longer than 3000 ms", ended_process}},
          {"aborts", abort_process, {ended_process}},
#ifndef __SANITIZE_THREAD__  // which takes signals over
          {"forks", fork_and_terminate, {own_error}},
#endif
          {"throws a number", throw_number, {"not a std::exception"}}};
}

std::optional<SQLite::Statement> cached;  // to be let go before its database

std::vector<Misdeed> of_sqlite() {
  return {{"opens a file that is not there",
           [](TestInbox&) {
             SQLite::Database{"/nonexistent/geo.db", SQLite::OPEN_READWRITE};
           },
           {"unable to open database file"}},
          {"writes the inbox's file over a second connection",
           [](TestInbox& inbox) {
             SQLite::Database{inbox.sqlite()->database().getFilename(), SQLite::OPEN_READWRITE}.exec(
                 "INSERT INTO effect VALUES ('second connection')");
           },
           {"database is locked"}},
          {"commits",
           [](TestInbox& inbox) { hidden([&] { inbox.sqlite()->transaction().exec("COMMIT"); }); },
           {must_not_end}},
          {"rolls back by a statement",
           [](TestInbox& inbox) {
             hidden([&] {
               inbox.sqlite()->transaction().exec(
                   "INSERT OR ROLLBACK INTO inbox_group(id, name) SELECT id, name FROM inbox_group");
             });
           },
           {must_not_end}},
          {"leaves a statement un-reset",
           [](TestInbox& inbox) {
             if (!cached) cached.emplace(inbox.sqlite()->transaction(), "SELECT id FROM effect");
             cached->executeStep();
           },
           {own_error}}};
}

std::vector<Misdeed> of_postgres() {
  return {
      {"connects to nobody",
       [](TestInbox&) { PostgresConnection{"postgresql://127.0.0.1:1/geo"}.connect(); },
       {"cannot connect to"}},
      {"wants a lock at once",
       [](TestInbox& inbox) { inbox.postgres()->transaction().exec("LOCK TABLE taken NOWAIT"); },
       {"could not obtain lock"}},
      {"fills the disk",
       [](TestInbox& inbox) { inbox.postgres()->transaction().exec("DO $$ BEGIN RAISE disk_full; END $$"); },
       {"disk_full"}},
      {"commits",
       [](TestInbox& inbox) { hidden([&] { inbox.postgres()->transaction().exec("COMMIT"); }); },
       {must_not_end}},
      {"commits by a script",
       [](TestInbox& inbox) { inbox.postgres()->database().script("COMMIT"); },
       {must_not_end}},
      {"hides an error",
       [](TestInbox& inbox) { hidden([&] { inbox.postgres()->transaction().exec("SELECT 1 / 0"); }); },
       {own_error}}};
}

/// In another order for each event, and from the first again when all were done. One hangs at first, so that
/// this is always among what is done.
std::vector<Misdeed> misdeeds(const std::string& event_id) {
  auto all = of_any();
  std::ranges::move(on_postgres() ? of_postgres() : of_sqlite(), std::back_inserter(all));
  std::seed_seq seed(event_id.begin(), event_id.end());
  std::mt19937 random{seed};
  std::ranges::shuffle(all, random);
  const auto hang_first = [](const auto& one) { return one.name != std::string{"hangs"}; };
  if (event_id == "bad-0") std::ranges::stable_sort(all, {}, hang_first);
  return all;
}

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
    overdue_from_ = steady_clock::now() + limit + 1s;
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

/// Three processes under a supervisor.
class Group {
 public:
  Group(const Scene& scene, const Journal& journal, const std::filesystem::path& journal_file)
      : journal_(journal),
        environment_{{"TIDINGS_TEST_URL", scene.server.url()},
                     {"TIDINGS_TEST_INBOX", scene.inbox()},
                     {"TIDINGS_TEST_JOURNAL", journal_file}} {}

  /// Starts those that have ended.
  void supervise() {
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      auto& process = processes_[i];
      if (process && process->running()) continue;
      if (process) require_reason(process->wait(), process->out() + process->err());
      auto environment = environment_;
      // In a SQLite file an instance that waits would keep the others out: there it ends by default.
      const bool ends = !on_postgres() || i == 0;
      environment.emplace_back("TIDINGS_TEST_HANGS", ends ? "for ever" : "");
      process.emplace(std::filesystem::read_symlink("/proc/self/exe"), std::vector<std::string>{servant},
                      ProcessOptions{.environment = environment, .input = {}, .log_folder = {}});
    }
  }

  [[nodiscard]] bool all_say_that_they_run() const {
    std::map<pid_t, std::string> states;
    for (const auto& line : journal_.lines())
      if (line.contains("state")) states[line.at("pid").get<pid_t>()] = line.at("state");
    return std::ranges::all_of(processes_,
                               [&](const auto& process) { return states[process->pid()] == "running"; });
  }

  void stop() {
    for (auto& process : processes_) process->kill(SIGTERM);
    for (auto& process : processes_) {
      const auto exit = process->wait();
      INFO(process->out() + process->err());
      CHECK(exit == exited(0));
    }
  }

  [[nodiscard]] int ends() const { return ends_; }

 private:
  void require_reason(const Exit& exit, const std::string& output) {
    ++ends_;
    INFO(output);
    if (exit == killed_by(SIGABRT)) return;
    REQUIRE(exit == exited(1));
    REQUIRE_THAT(output, ContainsSubstring("ending this process: the handler of the message at sequence"));
  }

  const Journal& journal_;
  const std::vector<std::pair<std::string, std::string>> environment_;
  std::array<std::optional<Process>, instances> processes_;
  int ends_ = 0;
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
  if (setting("TIDINGS_TEST_URL").empty()) return;  // only for the test below
  for (const int signal : {SIGABRT, SIGTERM}) std::signal(signal, SIG_DFL);
  const Journal journal{setting("TIDINGS_TEST_JOURNAL")};
  auto options = consumer_of(setting("TIDINGS_TEST_URL"));
  options.ack_wait = 1s;
  options.handler_time_limit = limit;
  options.backoff = {.base = 100ms};
  if (on_postgres() && setting("TIDINGS_TEST_HANGS") == "for ever")
    options.on_overdue = ConsumerOptions::Overdue::end_process;
  options.on_status = [&journal](const ConsumerStatus& status) {
    journal.add({{"state", name_of(status.state)}, {"reason", status.reason}});
  };
  TestInbox inbox{setting("TIDINGS_TEST_INBOX")};
  struct Cached {
    ~Cached() { cached.reset(); }
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
    throw std::runtime_error(own_error);
  });
  consumer.run();  // until SIGTERM
}

TEST_CASE("a handler that does its worst on a few events leaves all others handled once, within a minute") {
  const auto size = setting("TIDINGS_TEST_EVENTS");
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

  Group group{scene, journal, journal_file};
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
