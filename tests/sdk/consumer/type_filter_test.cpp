// The subjects that a group asks for, without a server.

#include "consumer/type_filter.hpp"

#include "nats/subject.hpp"
#include "support/catch.hpp"

using namespace tidings;
using Subjects = TypeFilter::Subjects;

namespace {

const ConsumerOptions options{.group = "mailer"};
const auto nothing_stored = [](const std::string&) { return Subjects{}; };

Handlers handlers_of(const std::vector<std::string>& types) {
  Handlers handlers;
  for (const auto& type : types) handlers.add(type, {});
  return handlers;
}

EventStream stream(bool several_filters) {
  EventStream stream;
  stream.name = "AUTH_EVENTS";
  stream.several_filters = several_filters;
  return stream;
}

TypeFilter filter_of(const std::vector<std::string>& types, bool several_filters) {
  return TypeFilter::of(handlers_of(types), options, stream(several_filters));
}

Subjects sorted(Subjects subjects) {
  std::ranges::sort(subjects);
  return subjects;
}

}  // namespace

TEST_CASE("a server that takes several filters is asked for each type") {
  const auto subjects = [](const std::vector<std::string>& types) {
    return sorted(filter_of(types, true).subjects(nothing_stored));
  };
  CHECK(subjects({"user.created"}) == Subjects{"auth.events.user.created"});
  CHECK(subjects({"user.created", "order.*", "order.paid"}) ==
        Subjects{"auth.events.order.>", "auth.events.user.created"});
  // Of `a` and `a.b`, the server would hand out the second alone.
  CHECK(subjects({"user", "user.created"}) == Subjects{"auth.events.>"});
  CHECK(subjects({"admin.user", "admin.user.created"}) == Subjects{"auth.events.admin.>"});
}

TEST_CASE("all events are asked for while the stream holds a type in partitions") {
  const auto filter = filter_of({"user.created", "order.*"}, GENERATE(true, false));
  const auto holding = [](const std::string& held) {
    return [held](const std::string& subject) { return covers(subject, held) ? Subjects{held} : Subjects{}; };
  };
  CHECK(filter.subjects(holding("auth.events.p07of16.order.paid")) == Subjects{"auth.events.>"});
  CHECK(filter.subjects(holding("auth.events.admin.order.paid")) == filter.subjects(nothing_stored));
}

TEST_CASE("an older server is asked for one type, or for what all types begin with") {
  const auto subject = [](const std::vector<std::string>& types) {
    return filter_of(types, false).subjects(nothing_stored);
  };
  CHECK(subject({"user.created"}) == Subjects{"auth.events.user.created"});
  CHECK(subject({"user.*"}) == Subjects{"auth.events.user.>"});
  CHECK(subject({"user.created", "user.*"}) == Subjects{"auth.events.user.>"});
  CHECK(subject({"user.created", "user.mail.changed"}) == Subjects{"auth.events.user.>"});
  CHECK(subject({"user", "user.created"}) == Subjects{"auth.events.>"});
  CHECK(subject({"user.created", "order.paid"}) == Subjects{"auth.events.>"});
}

TEST_CASE("no filter lets a type of a handler's get lost, and none overlaps with another") {
  const std::vector<std::string> types{"a", "a.b", "b", "b.a", "a.b.a", "a.a", "b.a.b"};
  const bool several = GENERATE(true, false);
  for (unsigned chosen = 1; chosen < 1U << (2 * types.size()); chosen += 7) {
    std::vector<std::string> handled;
    for (std::size_t i = 0; i < types.size(); ++i) {
      if ((chosen >> i & 1U) != 0) handled.push_back(types[i]);
      if ((chosen >> (i + types.size()) & 1U) != 0) handled.push_back(types[i] + ".*");
    }
    if (handled.empty()) continue;
    const auto handlers = handlers_of(handled);
    const auto filter = TypeFilter::of(handlers, options, stream(several));
    const auto subjects = filter.subjects(nothing_stored);
    REQUIRE(filter.missing_in(subjects).empty());
    for (std::size_t i = 0; i < subjects.size(); ++i)
      for (std::size_t j = 0; j < subjects.size(); ++j)
        if (i != j)
          REQUIRE_FALSE((overlaps(subjects[i], subjects[j]) || subjects[j].starts_with(subjects[i] + '.')));
    for (const auto& type : types)
      if (handlers.find(type) != nullptr) REQUIRE(covers_all(subjects, {"auth.events." + type}));
  }
}

TEST_CASE("all events are asked for where a handler takes any type, or subjects may not tell the type") {
  const auto one = handlers_of({"user.created"});
  auto any = handlers_of({"user.created"});
  any.add_any({});
  auto renaming = stream(true);
  renaming.renames_subjects = true;
  auto letters = options, whole = options;
  letters.unhandled = ConsumerOptions::Unhandled::dead_letter;
  whole.filter = ConsumerOptions::Filter::whole_stream;
  const std::vector<TypeFilter> filters{TypeFilter::of(any, options, stream(true)),
                                        TypeFilter::of(handlers_of({"User created"}), options, stream(true)),
                                        TypeFilter::of(one, letters, stream(true)),
                                        TypeFilter::of(one, whole, stream(true)),
                                        TypeFilter::of(one, options, renaming)};
  for (const auto& filter : filters) {
    CHECK(filter.all());
    CHECK(filter.subjects(nothing_stored) == Subjects{"auth.events.>"});
    CHECK(filter.missing_in({"auth.events.user.created"}).empty());
  }
  CHECK_FALSE(TypeFilter::of(one, options, stream(true)).all());
}

TEST_CASE("all events of a stream that may not be looked up are asked for, where there is no filter yet") {
  const auto filter = TypeFilter::of(handlers_of({"user.created"}), options, std::nullopt);
  CHECK(filter.subjects(nothing_stored) == Subjects{"auth.events.>"});
  CHECK(filter.content_with({"auth.events.user.created"}));
  CHECK_FALSE(filter.content_with({"auth.events.order.paid"}));
}

TEST_CASE("a durable's filters are compared with the types that have handlers") {
  const auto filter = filter_of({"user.created", "order.*"}, true);
  CHECK(filter.missing_in({}).empty());
  CHECK(filter.missing_in({"auth.>"}).empty());
  CHECK(filter.missing_in({"auth.events.order.>", "auth.events.*.created"}).empty());
  CHECK(filter.missing_in({"auth.events.p07of16.>"}).empty());  // a share of the work
  CHECK(filter.missing_in({"auth.events.*.user.created", "auth.events.order.paid"}) == Subjects{"order.*"});
  CHECK(filter.missing_in({"auth.events.admin.>"}) == Subjects{"order.*", "user.created"});
}

TEST_CASE("a durable's filters grow by what another release handles") {
  const bool several = GENERATE(true, false);
  const auto before = filter_of({"user.created"}, several).subjects(nothing_stored);
  const auto both = filter_of({"order.paid"}, several).with(before);
  REQUIRE(both);
  CHECK(
      both->missing_in(filter_of({"user.created", "order.paid"}, several).subjects(nothing_stored)).empty());
  const auto after = both->subjects(nothing_stored);
  CHECK(covers_all(after, before));
  CHECK(filter_of({"user.created"}, several).with(after)->subjects(nothing_stored) == after);
  CHECK(filter_of({"user.created"}, several).with({"auth.events.>"})->all());
  CHECK_FALSE(filter_of({"user.created"}, several).with({"auth.other.>"}));
}
