// Events that `tidings dlq redrive` has sent again: for the group that failed them, and for no other.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

PublishAck redrive(Scene& scene, const std::string& group, const std::string& id,
                   const std::string& message_id, HeaderList headers = {}) {
  headers.insert(headers.end(), {{"Nats-Msg-Id", message_id},
                                 {"ce-specversion", "1.0"},
                                 {"ce-id", id},
                                 {"ce-type", "user.created"},
                                 {"tidings-for-group", group}});
  return scene.js.publish("auth.events.user.created", "{}", headers);
}

Inbox::Attempts given_up(int starts) {
  return {.starts = starts, .state = Inbox::Attempts::State::dead_letter, .reason = "mail server down"};
}

/// As a process leaves them that ends between the dead letter and what follows it.
void leave_attempts(const Scene& scene, const std::string& id, const Inbox::Attempts& attempts) {
  TestInbox inbox{scene.inbox()};
  inbox.join("mailer");
  inbox.tables().begin();
  inbox.tables().record_attempts({id}, attempts);
  inbox.tables().commit();
}

}  // namespace

TEST_CASE("what is redriven for another group is acked, and neither handled nor a dead letter") {
  Scene scene;
  auto options = scene.options();
  options.unhandled = ConsumerOptions::Unhandled::dead_letter;
  redrive(scene, "billing", "one", "again-1");
  // What the other group could not read, and what this one has no handler for.
  scene.js.publish("auth.events.user.created", "[", {{"tidings-for-group", "billing"}});
  scene.js.publish("auth.events.user.renamed", "{}",
                   {{"ce-id", "two"}, {"ce-type", "user.renamed"}, {"Tidings-For-Group", "billing"}});
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.calls().empty());
  CHECK(instance.stats().ignored == 3);
  CHECK(instance.stats().dead_lettered == 0);
  CHECK(scene.place.count("inbox") == 0);
}

TEST_CASE("what is redriven for another group is passed over by workers as well") {
  Scene scene;
  redrive(scene, "billing", "one", "again-1");
  redrive(scene, "mailer", "two", "again-2");
  Instance instance{scene.inbox(), with_workers(scene.options(), 2), nothing};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(ids_of(instance.calls()) == std::vector<std::string>{"two"});
  CHECK(instance.stats().ignored == 1);
}

TEST_CASE("a redriven event takes effect once, however often it is redriven") {
  Scene scene;
  for (const char* message_id : {"again-1", "again-2"}) redrive(scene, "mailer", "one", message_id);
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  CHECK(instance.stats().duplicates == 1);
}

TEST_CASE("the attempts of a redriven event start at 0, whatever is left of an earlier copy") {
  Scene scene;
  const int workers = GENERATE(0, 2);
  CAPTURE(workers);
  leave_attempts(scene, "one", given_up(5));
  redrive(scene, "mailer", "one", "again-1");
  std::optional<Instance> instance;
  if (workers > 0)
    instance.emplace(scene.inbox(), with_workers(scene.options(), workers), nothing);
  else
    instance.emplace(scene.inbox(), scene.options(), [fails = 1](const Delivery&, Tx&) mutable {
      if (fails-- > 0) throw std::runtime_error("mail server down");  // and runs isolated from then on
    });
  instance->start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance->stop();
  std::vector<int> attempts;
  for (const auto& call : instance->calls()) attempts.push_back(call.attempt);
  CHECK(attempts == (workers > 0 ? std::vector{1} : std::vector{1, 2}));
  CHECK(instance->stats().handled == 1);
  CHECK(instance->stats().dead_lettered == 0);
}

TEST_CASE(
    "a redriven event that was handed out before it was started is not taken for the copy that failed") {
  Scene scene;
  const int workers = GENERATE(0, 2);
  CAPTURE(workers);
  leave_attempts(scene, "one", given_up(5));
  redrive(scene, "mailer", "one", "again-1");
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 200'000'000}});
  // Somebody takes it and dies.
  scene.js.api("CONSUMER.MSG.NEXT.AUTH_EVENTS.mailer", {{"batch", 1}});
  REQUIRE(scene.group().num_ack_pending == 1);
  std::optional<Instance> instance;
  if (workers > 0)
    instance.emplace(scene.inbox(), with_workers(scene.options(), workers), nothing);
  else
    instance.emplace(scene.inbox(), scene.options());
  instance->start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance->stop();
  REQUIRE(instance->calls().size() == 1);
  CHECK(instance->stats().dead_lettered == 0);
  CHECK(instance->stats().handled == 1);
}

TEST_CASE("a redriven event that fails again is a dead letter again, by attempts of its own") {
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  redrive(scene, "mailer", "one", "again-1");
  Instance instance{scene.inbox(), options, on_event("one", [] { throw std::runtime_error("down"); })};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.calls().size() == 2);
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("tidings-attempts") == "2");
  CHECK(letters[0].header("tidings-original-id") == "one");
}

TEST_CASE("a redriven event whose only id was its message's keeps it") {
  Scene scene;
  const HeaderList structured{{"content-type", "application/cloudevents+json"}};
  const auto publish = [&](const std::string& data, HeaderList headers) {
    headers.insert(
        headers.end(),
        {{"Nats-Msg-Id", "again-" + data}, {"tidings-original-id", "one"}, {"tidings-for-group", "mailer"}});
    scene.js.publish("auth.events.user.created", data, headers);
  };
  publish("{}", {});
  publish(R"({"specversion":"1.0","type":"user.created","data":{}})", structured);
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  CHECK(instance.stats().duplicates == 1);
}
