// Which handler an event goes to, and what it is given.

#include "support/consuming.hpp"
#include "support/log.hpp"

#include <memory>
#include <optional>

using namespace tidings;
using namespace tidings::test;

namespace {

struct Numbered {
  int n;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Numbered, n)

/// A consumer whose handlers write down what they are given.
struct Recorder {
  explicit Recorder(Scene& its_scene, int workers = 0)
      : scene(its_scene), inbox(scene.inbox()), consumer(inbox, with_workers(scene.options(), workers)) {
    inbox.make_effects();
  }
  auto note(const std::string& handler) {
    return
        [this, handler](const Delivery& delivery) { notes.push_back(handler + " " + delivery.event.type); };
  }
  void run_until(std::uint64_t settled) {
    std::jthread running{[this](const std::stop_token& stop) { consumer.run(stop); }};
    REQUIRE_WITHIN(20s, consumer.stats().handled + consumer.stats().dead_lettered == settled);
  }

  Scene& scene;
  TestInbox inbox;
  Consumer<TestInbox> consumer;
  std::vector<std::string> notes;
};

/// Also what no handler takes.
ConsumerOptions of_whole_stream(const Scene& scene) {
  auto options = scene.options();
  options.filter = ConsumerOptions::Filter::whole_stream;
  return options;
}

}  // namespace

TEST_CASE("the very type wins over the longest beginning, and that over any type") {
  Scene scene;
  Recorder recorder{scene};
  recorder.consumer.on_any(recorder.note("any"))
      .on("user.*", recorder.note("user.*"))
      .on("user.email.*", recorder.note("user.email.*"))
      .on("user.created", recorder.note("user.created"));
  const std::vector<std::string> types{"user.created",    "user.renamed",   "user.email.changed",
                                       "user.email.a.b",  "user.emailed",   "users.created",
                                       "account.created", "user.created.x", "user"};
  for (const auto& type : types) scene.publish(type, "{}", type);
  recorder.run_until(types.size());
  CHECK(recorder.notes == std::vector<std::string>{"user.created user.created", "user.* user.renamed",
                                                   "user.email.* user.email.changed",
                                                   "user.email.* user.email.a.b", "user.* user.emailed",
                                                   "any users.created", "any account.created",
                                                   "user.* user.created.x", "any user"});
}

TEST_CASE("a handler of no type is given the bytes, and nothing is parsed") {
  const int workers = GENERATE(0, 2);
  Scene scene;
  Recorder recorder{scene, workers};
  std::vector<std::string> data;
  const auto keep = [&data](const Delivery& delivery) { data.push_back(delivery.event.data); };
  if (workers > 0)
    recorder.consumer.on("user.created", keep);
  else
    recorder.consumer.on("user.created", [&](Tx& tx, const Delivery& delivery) {
      tx.write_effect(delivery.event.id);
      keep(delivery);
    });
  const std::string bytes("\x00\xff{", 3);
  scene.publish("bytes", bytes);
  recorder.run_until(1);
  scene.publish("nothing", "");
  recorder.run_until(2);
  scene.js.publish("auth.events.user.created",
                   R"({"specversion":"1.0","id":"base64","type":"user.created","data_base64":"AP97"})",
                   {{"content-type", "application/cloudevents+json"}});
  recorder.run_until(3);
  CHECK(data == std::vector<std::string>{bytes, "", bytes});
  if (workers == 0) CHECK(scene.effects() == std::vector<std::string>{"bytes", "nothing", "base64"});
}

TEST_CASE("an event without data goes to handlers whose type can do without") {
  Scene scene;
  Recorder recorder{scene};
  std::vector<std::string> given;
  recorder.consumer
      .on<std::optional<Numbered>>("optional",
                                   [&](const auto& data, const Delivery&) {
                                     given.push_back(data ? std::to_string(data->n) : "none");
                                   })
      .on<nlohmann::json>("json",
                          [&](const nlohmann::json& data, const Delivery&) { given.push_back(data.dump()); })
      .on<Numbered>("numbered", [&](const Numbered&, const Delivery&) { given.emplace_back("numbered"); });
  scene.publish("1", "", "optional");
  scene.publish("2", "null", "optional");
  scene.publish("3", R"({"n":3})", "optional");
  scene.publish("4", "", "json");
  scene.publish("5", "", "numbered");
  recorder.run_until(5);
  CHECK(given == std::vector<std::string>{"none", "none", "3", "null"});
  REQUIRE(scene.dead_letters().size() == 1);
  CHECK_THAT(std::string{header(scene.dead_letters()[0].headers, "tidings-reason")},
             ContainsSubstring("data of numbered is empty, which does not fit the handler's type"));
}

TEST_CASE("a handler may be move-only") {
  Scene scene;
  Recorder recorder{scene};
  recorder.consumer.on<Numbered>(
      "user.created", [owned = std::make_unique<int>(0)](const Numbered& data, Tx& tx, const Delivery&) {
        *owned += data.n;
        tx.write_effect(std::to_string(*owned));
      });
  recorder.consumer.on_any([owned = std::make_unique<int>(0)](const Delivery&) { ++*owned; });
  scene.publish("one", R"({"n":1})");
  scene.publish("two", R"({"n":2})");
  scene.publish("three", "{}", "any");
  recorder.run_until(3);
  CHECK(scene.effects() == std::vector<std::string>{"1", "3"});
}

TEST_CASE("a type for handlers that cannot be used is an error that says what it takes") {
  Scene scene;
  Recorder recorder{scene};
  for (const char* type : {"*", "", "user.>", "user*", "*.created", ".*", "user.*.x"})
    CHECK_THAT(error_of<SettingError>([&] { recorder.consumer.on(type, nothing); }),
               ContainsSubstring(type) && ContainsSubstring("on_any()"));
  recorder.consumer.on("user.*", nothing).on_any(nothing);
  CHECK_THAT(error_of<Error>([&] { recorder.consumer.on("user.*", nothing); }),
             ContainsSubstring("user.* already"));
  CHECK_THAT(error_of<Error>([&] { recorder.consumer.on_any(nothing); }), ContainsSubstring("already"));
}

TEST_CASE("each type goes to its own handler") {
  Scene scene;
  scene.publish("one", "{}", "user.renamed");
  scene.publish("two", "{}", "user.created");
  std::atomic<int> renamed{0};
  Instance instance{scene.inbox(), scene.options()};
  instance.consumer.on<nlohmann::json>("user.renamed", [&](const auto&, Tx&, const Delivery&) { ++renamed; });
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  CHECK(renamed == 1);
  CHECK(scene.effects() == std::vector<std::string>{"two"});
}

TEST_CASE("handlers are given once for each type, before the run, and at least one") {
  Scene scene;
  TestInbox inbox{scene.inbox()};
  Consumer consumer{inbox, scene.options()};
  CHECK_THAT(error_of<Error>([&] { consumer.run(std::stop_token{}); }), ContainsSubstring("no handler"));
  const auto nothing = [](const nlohmann::json&, Tx&, const Delivery&) {};
  consumer.on<nlohmann::json>("user.created", nothing);
  CHECK_THAT(error_of<Error>([&] { consumer.on<nlohmann::json>("user.created", nothing); }),
             ContainsSubstring("user.created already"));

  std::stop_source stop;
  std::jthread running{[&] { consumer.run(stop.get_token()); }};
  REQUIRE_WITHIN(10s, scene.has_group());
  CHECK_THAT(error_of<Error>([&] { consumer.on<nlohmann::json>("user.renamed", nothing); }),
             ContainsSubstring("before run()"));
  CHECK_THAT(error_of<Error>([&] { consumer.run(stop.get_token()); }), ContainsSubstring("running already"));
  stop.request_stop();
}

TEST_CASE("a type without a handler is acked and counted") {
  Scene scene;
  scene.publish("one", "{}", "user.renamed");
  scene.publish("two");
  Instance instance{scene.inbox(), of_whole_stream(scene)};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.stats().ignored == 1);
  CHECK(instance.stats().handled == 1);
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("a type without a handler is told of once") {
  Scene scene;
  scene.publish("one", "{}", "user.renamed");
  scene.publish("two", "{}", "user.renamed");
  scene.publish("three", "{}", "user.deleted");
  const Log log;
  {
    Instance instance{scene.inbox(), of_whole_stream(scene)};
    instance.start();
    REQUIRE_WITHIN(10s, scene.all_acked());
  }
  const auto told = log.text();
  const auto times = [&told](const std::string& type) {
    int count = 0;
    for (auto at = told.find("type=" + type); at != std::string::npos; at = told.find("type=" + type, at + 1))
      ++count;
    return count;
  };
  CHECK(times("user.renamed") == 1);
  CHECK(times("user.deleted") == 1);
}
