// What a strict group's inbox commits is checked against the tenure, by itself: without a lease that is kept,
// and without the end of sessions that a take-over brings.

#include "inbox/inbox.hpp"
#include "inbox/tenure_store.hpp"
#include "support/catch.hpp"
#include "support/inbox_scene.hpp"

#include <memory>
#include <string>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

namespace {

/// An instance of a strict group, which takes the tenure when it is told to.
struct Instance {
  explicit Instance(const InboxFromOutside& place) : inbox(place) {
    inbox->make_strict();
    tenures = inbox->open_tenures(1s);
  }
  [[nodiscard]] bool take_over(const std::string& tenure) {
    inbox->fence(tenure);
    return tenures->take(tenures->look(), tenure);
  }

  Joined inbox;
  std::unique_ptr<TenureStore> tenures;
};

}  // namespace

TEST_CASE("nothing is committed by an owner after another has taken over, and all of it before") {
  const InboxFromOutside place;
  Instance one{place}, other{place};
  REQUIRE(one.take_over("one"));
  CHECK(claim(*one.inbox, "before"));

  REQUIRE(other.take_over("two"));
  CHECK_THROWS_AS(claim(*one.inbox, "after"), TenureLost);
  one.inbox->rollback();
  CHECK_THROWS_AS(record(*one.inbox, "after", {.starts = 1, .reason = "no"}), TenureLost);
  one.inbox->rollback();
  CHECK_FALSE(other.inbox->handled({"after"}));
  CHECK_FALSE(other.inbox->attempts({"after"}).has_value());
  CHECK_FALSE(claim(*other.inbox, "before"));
  CHECK(claim(*other.inbox, "after"));
}

TEST_CASE("an owner whose tenure was released commits nothing more") {
  const InboxFromOutside place;
  Instance one{place};
  REQUIRE(one.take_over("one"));
  one.tenures->release("one");
  CHECK_THROWS_AS(claim(*one.inbox, "after"), TenureLost);
  one.inbox->rollback();
  one.inbox->fence({});
  CHECK_FALSE(one.inbox->handled({"after"}));
}

TEST_CASE("an owner beats until another has taken over, and who has looked before that takes nothing") {
  const InboxFromOutside place;
  Instance one{place}, other{place};
  REQUIRE(one.take_over("one"));
  CHECK(one.tenures->beat("one"));
  const auto seen = other.tenures->look();
  CHECK(one.tenures->beat("one"));
  CHECK_FALSE(other.tenures->take(seen, "two"));
  REQUIRE(other.take_over("two"));
  CHECK_FALSE(one.tenures->beat("one"));
  one.tenures->release("one");
  CHECK(other.tenures->look().tenure == "two");
}
