// Which events an inbox takes for the same one: by id and source, also beside older binaries.

#include "support/catch.hpp"
#include "support/inbox_scene.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;

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
