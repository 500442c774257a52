// What an inbox forgets, and when.

#include "support/catch.hpp"
#include "support/inbox_scene.hpp"

#include <string>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;

TEST_CASE("pruning goes in steps, forgets only what is old, and comes to an end") {
  const InboxFromOutside place;
  Joined inbox{place};
  constexpr int limit = 3;
  std::string old;
  inbox->begin();
  for (int i = 10; i < 30; ++i) {  // old and new alternating
    const auto id = "event-" + std::to_string(i);
    CHECK(inbox->claim({id}));
    if (i % 2 == 0) old += (old.empty() ? "'" : ", '") + id + "'";
  }
  inbox->commit();
  place.let_handled_long_ago(old);
  const auto count = [&] { return place.number("SELECT count(*) FROM inbox"); };

  int steps = 0;
  for (bool round_done = false; !round_done; ++steps) {
    REQUIRE(steps < 100);
    const auto before = count();
    round_done = prune(*inbox, hours{24}, limit);
    CHECK(before - count() <= limit);
  }
  CHECK(steps >= 7);  // twenty rows, three at a time
  CHECK(count() == 10);
  CHECK(inbox->handled({"event-11"}));
  CHECK_FALSE(inbox->handled({"event-10"}));

  // The next round begins at the first row again.
  place.let_handled_long_ago("'event-11'");
  CHECK_FALSE(prune(*inbox, hours{24}, limit));
  CHECK(count() == 9);
}

TEST_CASE("a clock that has jumped ahead makes an inbox forget nothing, also after a restart") {
  const InboxFromOutside place;
  const hours age{24 * 30};
  {
    Joined inbox{place};
    CHECK(prune(*inbox, age, 100));
    CHECK(claim(*inbox, "one"));
    record(*inbox, "other", {.starts = 2, .reason = "x"});
  }
  place.let_all_have_been_days_ago(31);  // which is what a jump looks like
  Joined again{place};
  CHECK(prune(*again, age, 100));
  CHECK(prune(*again, age, 100));
  CHECK(again->handled({"one"}));
  CHECK(again->attempts({"other"}).has_value());
  // A shorter retention is none of the clock's business.
  place.let_handled_long_ago("'one'");
  CHECK(prune(*again, age, 100));
  CHECK_FALSE(again->handled({"one"}));
}

TEST_CASE("rows of a group that nobody has seen for long are removed in steps, and those of others are not") {
  const InboxFromOutside place;
  run_for_a_while(place, "renamed", 10);
  run_for_a_while(place, "on-holiday");
  run_for_a_while(place, "mailer");
  place.let_all_have_been_days_ago(days_until_gone + 1, "renamed");
  place.let_all_have_been_days_ago(days_until_gone - 1, "on-holiday");
  Joined mailer{place};
  constexpr int limit = 3;
  int steps = 0;
  for (bool round_done = false; !round_done; ++steps) {
    REQUIRE(steps < 100);
    const auto before = place.rows_of("renamed");
    round_done = prune(*mailer, month, limit);
    CHECK(before - place.rows_of("renamed") <= limit);
  }
  CHECK(steps >= 4);
  CHECK(place.rows_of("renamed") == 0);
  CHECK(place.rows_of("renamed", "inbox_attempt") == 0);
  for (const char* group : {"on-holiday", "mailer"}) {
    CHECK(place.rows_of(group) == 1);
    CHECK(place.rows_of(group, "inbox_attempt") == 1);
  }
  CHECK(claim(*Joined(place, "renamed"), "event-0"));  // it may come back
}

TEST_CASE("a group that comes back after long is alive at its first prune") {
  const InboxFromOutside place;
  run_for_a_while(place, "away", 3);
  run_for_a_while(place, "mailer");
  place.let_all_have_been_days_ago(days_until_gone + 1, "away");
  {
    Joined back{place, "away"};
    CHECK(prune(*back, 2 * days_until_gone * hours{24}, 100));
  }
  CHECK(prune(*Joined{place}, month, 100));
  CHECK(place.rows_of("away") == 3);
}

TEST_CASE("a clock that has jumped ahead makes no group look gone, not even to a new one") {
  const InboxFromOutside place;
  run_for_a_while(place, "audit");
  run_for_a_while(place, "mailer");
  place.let_all_have_been_days_ago(10 * days_until_gone);  // which is what a jump looks like
  const std::string group = GENERATE("mailer", "new");
  Joined inbox{place, group};
  CHECK(prune(*inbox, month, 100));
  CHECK(prune(*Joined(place, group), month, 100));
  CHECK(place.rows_of("audit") == 1);
  CHECK(place.rows_of("audit", "inbox_attempt") == 1);
}

TEST_CASE("a group that was never seen counts as seen from now on") {
  const InboxFromOutside place;
  run_for_a_while(place, "older-version");
  place.let_all_have_been_days_ago(days_until_gone + 1, "older-version");
  place.forget_when_seen("older-version");
  Joined mailer{place};
  CHECK(prune(*mailer, month, 100));
  CHECK(place.rows_of("older-version") == 1);
  place.let_all_have_been_days_ago(days_until_gone + 1, "older-version");
  while (!prune(*mailer, month, 100)) continue;
  CHECK(place.rows_of("older-version") == 0);
}

TEST_CASE("pruning an empty inbox ends at once") {
  const InboxFromOutside place;
  CHECK(prune(*Joined{place}, hours{24}, 1000));
}

TEST_CASE("pruning forgets old attempts and keeps new ones") {
  const InboxFromOutside place;
  Joined inbox{place};
  record(*inbox, "old", {.starts = 2, .reason = "x"});
  record(*inbox, "new", {.starts = 2, .reason = "x"});
  place.let_attempted_long_ago("old");
  CHECK(prune(*inbox, hours{24}, 10));
  CHECK_FALSE(inbox->attempts({"old"}).has_value());
  CHECK(inbox->attempts({"new"})->starts == 2);
}
