#include "support/misdeeds.hpp"

#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/environment.hpp"

#include <tidings/postgres_inbox.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <random>
#include <stdexcept>

namespace tidings::test {

namespace {

constexpr auto for_ever = 60s;
constexpr const char* ended_process = "the process ended or hung while handling it";
constexpr const char* must_not_end = "must not end the inbox's transaction";

template <class Action>
void hidden(Action&& action) {
  try {
    action();
  } catch (const std::exception&) {
  }
}

void hang(TestInbox&) {
  take_time(environment("TIDINGS_TEST_HANGS") == "for ever" ? for_ever : misdeed_time_limit + 2s);
}

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
          {"forks", fork_and_terminate, {misdeed_error}},
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
           {misdeed_error}}};
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
       {misdeed_error}}};
}

}  // namespace

std::vector<Misdeed> misdeeds(const std::string& event_id) {
  auto all = of_any();
  std::ranges::move(engine_under_test() == Engine::postgres ? of_postgres() : of_sqlite(),
                    std::back_inserter(all));
  std::seed_seq seed(event_id.begin(), event_id.end());
  std::mt19937 random{seed};
  std::ranges::shuffle(all, random);
  const auto hang_first = [](const auto& one) { return one.name != std::string{"hangs"}; };
  if (event_id == "bad-0") std::ranges::stable_sort(all, {}, hang_first);
  return all;
}

void forget_misdeeds() { cached.reset(); }

}  // namespace tidings::test
