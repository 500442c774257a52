// What every inbox does, whichever database it is in.

#include "inbox/inbox.hpp"

#include "support/catch.hpp"
#include "support/inbox_scene.hpp"

#include <tidings/error.hpp>

#include <barrier>
#include <string>
#include <thread>
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
