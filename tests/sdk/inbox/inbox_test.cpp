// What every inbox does, whichever database it is in.

#include "inbox/inbox.hpp"

#include "support/catch.hpp"
#include "support/inbox_scene.hpp"

#include <tidings/error.hpp>
#include <tidings/postgres_connection.hpp>

#include <algorithm>
#include <barrier>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;

TEST_CASE("an event is claimed once, also after the inbox is opened again") {
  const InboxFromOutside place;
  const std::vector<std::string> ids{uuid, "cl9ebqhxk00003b600tymydho", "ü/'; DROP TABLE inbox"};
  {
    Joined first{place};
    for (const auto& id : ids) {
      INFO(id);
      CHECK_FALSE(first->handled({id}));
      CHECK(claim(*first, id));
      CHECK_FALSE(claim(*first, id));
      CHECK(first->handled({id}));
    }
  }
  Joined again{place};
  for (const auto& id : ids) {
    INFO(id);
    CHECK(again->handled({id}));
    CHECK_FALSE(claim(*again, id));
  }
}

TEST_CASE("a second claim in the same transaction is refused too") {
  const InboxFromOutside place;
  Joined inbox{place};
  inbox->begin();
  if (inbox->claims_ahead()) inbox->claim_ahead({{uuid}, {uuid}});
  inbox->savepoint();
  CHECK(inbox->claim({uuid}));
  inbox->release_savepoint();
  inbox->savepoint();
  CHECK_FALSE(inbox->claim({uuid}));
  inbox->release_savepoint();
  inbox->commit();
}

TEST_CASE("two instances that share an inbox claim an event once between them") {
  const InboxFromOutside place;
  Joined one{place}, other{place};
  CHECK(claim(*one, uuid));
  CHECK_FALSE(claim(*other, uuid));
  CHECK(other->handled({uuid}));
}

TEST_CASE("two groups in one inbox know nothing of each other") {
  const InboxFromOutside place;
  Joined mailer{place, "mailer"}, audit{place, "audit"};
  CHECK(claim(*mailer, "event-1"));
  record(*mailer, "other", {.starts = 3, .reason = "no"});
  CHECK_FALSE(audit->handled({"event-1"}));
  CHECK_FALSE(audit->attempts({"other"}).has_value());
  CHECK(claim(*audit, "event-1"));

  place.let_handled_long_ago("'event-1'");
  while (!prune(*mailer, hours{24}, 100)) continue;
  CHECK_FALSE(mailer->handled({"event-1"}));
  CHECK(audit->handled({"event-1"}));
}

TEST_CASE("ids that only look like the same UUID stay distinct") {
  const InboxFromOutside place;
  Joined inbox{place};
  std::string upper = uuid;
  std::ranges::transform(upper, upper.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'f' ? static_cast<char>(letter - 32) : letter;
  });
  std::string bare = uuid;
  std::erase(bare, '-');
  std::string bytes;  // the very bytes that the UUID is kept in
  for (std::size_t i = 0; i < bare.size(); i += 2)
    bytes += static_cast<char>(std::stoi(bare.substr(i, 2), nullptr, 16));
  const std::vector<std::string> ids{uuid,
                                     upper,
                                     bare,
                                     "{" + uuid + "}",
                                     uuid + " ",
                                     bytes,
                                     "0190d5a-27c3e-7b1f-8a6d-3f2e1d0c9b8a",
                                     std::string(36, '-'),
                                     "fifteen letters",
                                     "00666966-7465-656e-206c-657474657273"};
  for (const auto& id : ids) {
    INFO(id);
    CHECK(claim(*inbox, id));
  }
  for (const auto& id : ids) {
    INFO(id);
    CHECK_FALSE(claim(*inbox, id));
  }
}

TEST_CASE("the same id of two sources is two events") {
  const InboxFromOutside place;
  const std::vector<EventIdentity> events{shop_seven, billing_seven, nobodys_seven, {"8", "/shop"}};
  const auto none = std::vector<bool>(4, false), all = std::vector<bool>(4, true);
  const bool in_a_batch = GENERATE(false, true);
  const auto claim_all = [&](Inbox& inbox) {
    if (in_a_batch) return claim_together(inbox, events);
    std::vector<bool> claimed;
    for (const auto& event : events) claimed.push_back(claim(inbox, event));
    return claimed;
  };
  {
    Joined inbox{place};
    CHECK_FALSE(inbox->handled(shop_seven));
    CHECK(claim_all(*inbox) == all);
    CHECK(claim_all(*inbox) == none);
  }
  Joined again{place};
  CHECK(claim_all(*again) == none);
  for (const auto& event : events) CHECK(again->handled(event));
  CHECK_FALSE(again->handled({"7", "/shop/"}));
  CHECK_FALSE(again->handled({"8", "/billing"}));
  CHECK(place.number("SELECT count(*) FROM inbox") == 4);
}

TEST_CASE("a UUID is one event whoever sends it") {
  const InboxFromOutside place;
  Joined inbox{place};
  CHECK(claim(*inbox, {uuid, "/shop"}));
  CHECK_FALSE(claim(*inbox, {uuid, "/billing"}));
  CHECK(inbox->handled({uuid}));
}

TEST_CASE("sources and ids that only look alike together stay distinct") {
  const InboxFromOutside place;
  Joined inbox{place};
  const std::string bytes{"\0/\xff", 3};
  const std::vector<EventIdentity> events{{"x", ""},  {"x", "a"},   {"x", "ab"},  {"bx", "a"}, {"x", "b"},
                                          {"x", "A"}, {"x", bytes}, {bytes, "a"}, {bytes, ""}, {"a", bytes}};
  for (const auto& event : events) CHECK(claim(*inbox, event));
  CHECK(claim_together(*inbox, events) == std::vector<bool>(events.size(), false));
}

TEST_CASE("a claim that is undone gives back the second source's place alone") {
  const InboxFromOutside place;
  Joined inbox{place};
  CHECK(claim(*inbox, shop_seven));
  inbox->begin();
  if (inbox->claims_ahead()) inbox->claim_ahead({billing_seven, {"8", "/billing"}});
  CHECK(inbox->claim(billing_seven));
  inbox->unclaim();
  inbox->commit();
  CHECK(inbox->handled(shop_seven));
  CHECK_FALSE(inbox->handled(billing_seven));
  CHECK_FALSE(inbox->handled({"8", "/billing"}));
  CHECK(claim(*inbox, billing_seven));
}

TEST_CASE("what an older binary has handled is of any source until it is pruned") {
  const InboxFromOutside place;
  Joined inbox{place};
  CHECK(place.claim_as_before("7"));
  CHECK(claim_together(*inbox, {shop_seven, billing_seven}) == std::vector<bool>(2, false));
  CHECK_FALSE(claim(*inbox, shop_seven));
  CHECK(inbox->handled(billing_seven));
  place.let_handled_long_ago("'7'");
  while (!prune(*inbox, hours{24}, 100)) continue;
  CHECK(claim_together(*inbox, {shop_seven, billing_seven}) == std::vector<bool>(2, true));
}

TEST_CASE("an older binary beside ours finds what ours has handled") {
  const InboxFromOutside place;
  Joined inbox{place};
  CHECK(claim(*inbox, shop_seven));
  CHECK_FALSE(place.claim_as_before("7"));
  CHECK(place.claim_as_before("8"));
  CHECK(claim(*inbox, billing_seven));
}

TEST_CASE("what a second source has sent stays known when the first one's row is pruned") {
  const InboxFromOutside place;
  Joined inbox{place};
  CHECK(claim(*inbox, shop_seven));
  CHECK(claim(*inbox, billing_seven));
  place.let_handled_long_ago("'7'");
  while (!prune(*inbox, hours{24}, 100)) continue;
  CHECK_FALSE(inbox->handled(shop_seven));
  CHECK_FALSE(claim(*inbox, billing_seven));
  CHECK(claim_together(*inbox, {billing_seven, shop_seven}) == std::vector<bool>{false, true});
}

TEST_CASE("attempts are counted for each source of an id") {
  const InboxFromOutside place;
  Joined inbox{place};
  const auto starts = [&](const EventIdentity& event) {
    const auto known = inbox->attempts(event);
    return known ? known->starts : 0;
  };
  record(*inbox, shop_seven, {.starts = 1, .reason = "no"});
  CHECK(starts(billing_seven) == 0);
  record(*inbox, billing_seven, {.starts = 2, .reason = "no"});
  record(*inbox, shop_seven, {.starts = 3, .reason = "no"});
  CHECK(starts(shop_seven) == 3);
  CHECK(starts(billing_seven) == 2);
  inbox->begin();
  inbox->forget_attempts(shop_seven);
  inbox->commit();
  CHECK(starts(shop_seven) == 0);
  CHECK(starts(billing_seven) == 2);
  CHECK(place.number("SELECT count(*) FROM inbox_attempt") == 1);
  record(*inbox, billing_seven, {.starts = 4, .reason = "no"});  // its id is free now
  CHECK(starts(billing_seven) == 4);
  CHECK(place.number("SELECT count(*) FROM inbox_attempt") == 1);
  inbox->begin();
  inbox->forget_attempts(billing_seven);
  inbox->commit();
  CHECK(place.number("SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE("attempts that an older binary has counted are of any source, and the newest count") {
  const InboxFromOutside place;
  Joined inbox{place};
  place.fail_as_before("7", 3);
  CHECK(inbox->attempts(shop_seven)->starts == 3);
  CHECK(inbox->attempts(billing_seven)->starts == 3);
  record(*inbox, shop_seven, {.starts = 4, .reason = "no"});
  CHECK(inbox->attempts(shop_seven)->starts == 4);
  inbox->begin();
  inbox->forget_attempts(shop_seven);
  inbox->commit();
  CHECK_FALSE(inbox->attempts(billing_seven));
}

TEST_CASE("a claim and what its handler has written are undone together, and nothing else") {
  const InboxFromOutside place;
  Joined inbox{place};
  inbox.inbox.make_effects();
  const bool ahead = GENERATE(false, true);
  inbox->begin();
  // The last one is not come to: a batch ends when its time is up.
  if (ahead && inbox->claims_ahead()) inbox->claim_ahead({{"one"}, {"two"}, {"three"}, {"four"}});
  for (const char* id : {"one", "two", "three"}) {
    CHECK(inbox->claim({id}));
    inbox->savepoint();
    inbox.inbox.transaction().write_effect(id);
    if (id == std::string("two")) {
      inbox->rollback_to_savepoint();
      inbox->unclaim();
    }
    inbox->release_savepoint();
  }
  inbox->commit();
  CHECK(inbox->handled({"one"}));
  CHECK_FALSE(inbox->handled({"two"}));
  CHECK(inbox->handled({"three"}));
  CHECK_FALSE(inbox->handled({"four"}));
  CHECK(place.number("SELECT count(*) FROM effect WHERE id IN ('one', 'three')") == 2);
  CHECK(place.number("SELECT count(*) FROM effect") == 2);
}

TEST_CASE("a rollback undoes everything since begin, and without a transaction it does nothing") {
  const InboxFromOutside place;
  Joined inbox{place};
  inbox->rollback();
  inbox->begin();
  CHECK(inbox->claim({"one"}));
  CHECK(inbox->claim({"two"}));
  inbox->savepoint();
  inbox->rollback();
  inbox->rollback();
  CHECK_FALSE(inbox->handled({"one"}));
  CHECK_FALSE(inbox->handled({"two"}));
}

TEST_CASE("attempts are counted by event, kept and forgotten on demand") {
  const InboxFromOutside place;
  const auto odd = std::string("a NUL ") + '\0' + " and bytes \xff that are no UTF-8";
  {
    Joined inbox{place};
    CHECK_FALSE(inbox->attempts({uuid}).has_value());
    record(*inbox, uuid, {.starts = 1, .reason = "first"});
    record(*inbox, uuid, {.starts = 2, .reason = "second"});
    record(*inbox, "other", {.starts = 7, .reason = {}});
    record(*inbox, "odd", {.starts = 1, .reason = odd});
  }
  Joined again{place};
  CHECK(again->attempts({uuid})->starts == 2);
  CHECK(again->attempts({uuid})->reason == "second");
  again->begin();
  again->forget_attempts({uuid});
  again->commit();
  CHECK_FALSE(again->attempts({uuid}).has_value());
  CHECK(again->attempts({"other"})->starts == 7);
  CHECK(again->attempts({"odd"})->starts == 1);
}

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

TEST_CASE("one inbox object serves one consumer") {
  const InboxFromOutside place;
  Joined inbox{place};
  CHECK_THAT(error_of<Error>([&] { inbox->join("other"); }), ContainsSubstring("give each its own"));
}

TEST_CASE("any number of instances may open a new inbox at the same moment") {
  const InboxFromOutside place;
  constexpr int instances = 8;
  std::barrier start{instances};
  std::vector<std::string> errors(instances);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < instances; ++i)
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        try {
          if (!claim(*Joined{place}, "event" + std::to_string(i))) errors[i] = "not claimed";
        } catch (const std::exception& error) {
          errors[i] = error.what();
        }
      });
  }
  for (const auto& error : errors) CHECK(error == "");
  CHECK(place.number("SELECT count(*) FROM inbox JOIN inbox_group ON id = group_id") == instances);
}

TEST_CASE("an error of somebody else's is not a transient error of the database") {
  const InboxFromOutside place;
  CHECK_FALSE(Joined { place } -> is_transient(std::runtime_error("database is locked")));
}

TEST_CASE("each group's place on each stream is kept, and the latest counts") {
  const InboxFromOutside place;
  using Position = Inbox::Position;
  {
    Joined mailer{place};
    CHECK_FALSE(mailer->position("AUTH_EVENTS"));
    CHECK_FALSE(mailer->has_handled_events());
    mailer->begin();
    mailer->keep_position("AUTH_EVENTS", {"2025", 7});
    mailer->keep_position("AUTH_EVENTS", {"2026", 3});  // of another stream in its place
    mailer->keep_position("SHOP", {"2024", 5'000'000'000});
    mailer->commit();
    CHECK(claim(*mailer, uuid));
  }
  Joined mailer{place}, audit{place, "audit"};
  CHECK(mailer->position("AUTH_EVENTS") == Position{"2026", 3});
  CHECK(mailer->position("SHOP") == Position{"2024", 5'000'000'000});
  CHECK(mailer->has_handled_events());
  CHECK_FALSE(audit->position("AUTH_EVENTS"));
  CHECK_FALSE(audit->has_handled_events());
}

TEST_CASE("two inboxes with different prefixes in one database know nothing of each other") {
  const InboxFromOutside place;
  const InboxOptions billing{.table_prefix = "billing_"};
  for (int time = 0; time < 2; ++time) {  // and find their tables again
    Joined plain{place}, prefixed{place, "mailer", billing};
    const auto id = "event-" + std::to_string(time);
    CHECK(claim(*plain, id));
    CHECK_FALSE(prefixed->handled({id}));
    CHECK(claim(*prefixed, id));
    CHECK_FALSE(claim(*prefixed, id));
    record(*prefixed, id, {.starts = time, .reason = "x"});
    CHECK_FALSE(plain->attempts({id}).has_value());
    prefixed->begin();
    prefixed->keep_position("AUTH_EVENTS", {"2026", 7});
    prefixed->commit();
    CHECK_FALSE(plain->position("AUTH_EVENTS"));
    CHECK(prune(*prefixed, month, 100));
  }
  for (const char* table : {"inbox", "inbox_attempt", "inbox_group", "inbox_position", "inbox_schema"})
    CHECK(place.number(std::string{"SELECT count(*) FROM billing_"} + table) >= 1);
  CHECK(place.number("SELECT count(*) FROM inbox") == 2);
  CHECK(place.number("SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE("a prefix that is no beginning of a table's name is refused") {
  const InboxFromOutside place;
  const std::string prefix = GENERATE(as<std::string>{}, "1st_", "a-b", "a b", "ü",
                                      "x\"; DROP TABLE inbox; --", std::string(41, 'x'));
  const auto error = error_of<SettingError>([&] {
    const TestInbox inbox{place.location(), {.table_prefix = prefix}};
  });
  CHECK_THAT(error, ContainsSubstring("table_prefix=" + prefix + ": takes letters, digits and _"));
  const TestInbox longest{place.location(), {.table_prefix = std::string(40, 'x')}};
}
