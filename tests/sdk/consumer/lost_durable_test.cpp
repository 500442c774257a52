// A durable that is lost together with the knowledge of where it stood.

#include "support/consuming.hpp"
#include "support/edited_api.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

/// A group that has handled 20 events of a stream with some that the inbox has long forgotten.
struct Forgetful {
  Forgetful() {
    scene.publish_many(20);
    options.connection.jetstream_api_prefix = EditedApi::prefix;
  }

  /// As in an inbox of a version that did not keep places.
  void lose_place_and_durable() const {
    TestInbox{scene.inbox()}.exec("DELETE FROM inbox_position");
    JetStream{scene.server.url()}.delete_consumer("AUTH_EVENTS", "mailer");
  }
  void check_told(const Instance& instance) {
    CHECK_THAT(instance.error(),
               ContainsSubstring("the group mailer is gone from the stream AUTH_EVENTS") &&
                   ContainsSubstring("`nats consumer add AUTH_EVENTS mailer --pull --ack=explicit"));
    CHECK(instance.consumer.status().state == ConsumerStatus::State::stopped);
    CHECK_FALSE(scene.has_group());
    CHECK(scene.effects().size() == 20);
  }

  Scene scene;
  const EditedApi api = aged_api(scene.server.url());
  ConsumerOptions options = scene.options();
};

}  // namespace

TEST_CASE("a durable that is lost with its place ends the run with what to do, which then helps") {
  Forgetful group;
  auto& scene = group.scene;
  {
    Instance instance{scene.inbox(), group.options};
    instance.start();
    REQUIRE_WITHIN(10s, scene.all_acked());
  }
  group.lose_place_and_durable();
  {
    Instance next{scene.inbox(), group.options};
    next.start();
    REQUIRE_WITHIN(10s, next.ended());
    group.check_told(next);
    CHECK(next.calls().empty());
  }
  scene.js.add_consumer("AUTH_EVENTS", "mailer",
                        {{"deliver_policy", "by_start_sequence"}, {"opt_start_seq", 21}});
  scene.publish("later");
  Instance last{scene.inbox(), group.options};
  last.start();
  REQUIRE_WITHIN(10s, last.stats().handled == 1);
  CHECK(last.stats().received == 1);
}

TEST_CASE("a durable that is lost under its consumer, with its place, ends the run with what to do") {
  Forgetful group;
  Instance instance{group.scene.inbox(), group.options};
  instance.start();
  REQUIRE_WITHIN(10s, group.scene.all_acked());
  REQUIRE_WITHIN(15s, [&] {  // it is kept once the server has told of it
    TestInbox inbox{group.scene.inbox()};
    inbox.join("mailer");
    const auto position = inbox.tables().position("AUTH_EVENTS");
    return position && position->settled_to == 20;
  }());
  group.lose_place_and_durable();
  REQUIRE_WITHIN(15s, instance.ended());
  group.check_told(instance);
}

// A server answers so between the end of the old durable and the new one.
TEST_CASE("a durable that is told of without its settings is asked for again") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", nlohmann::json::object());
  std::atomic<int> answers{0};
  const EditedApi api{scene.server.url(), "CONSUMER.INFO.", [&answers](nlohmann::json& info) {
                        if (++answers <= 2) info = {{"type", info.at("type")}};
                      }};
  auto options = scene.options();
  options.connection.jetstream_api_prefix = EditedApi::prefix;
  options.manage_streams = GENERATE(true, false);
  scene.publish("one");
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled == 1 || instance.ended());
  CHECK(answers > 2);
  CHECK(instance.error().empty());
}
