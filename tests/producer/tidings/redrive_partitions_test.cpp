// `tidings dlq redrive` where the number of partitions was changed since the event failed.

#include "operator_scene.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

/// A dead letter of an event of the aggregate `foobar`, which is in partition 8 of 16.
struct Changed : OperatorScene {
  Changed() { add_letters_stream(); }

  void add_letter(const std::string& original_subject) {
    letter("one", "foobar", 1, {{"tidings-original-subject", original_subject}});
  }
  void add_durable(const std::string& name, const std::string& filter) {
    js.add_consumer("AUTH_EVENTS", name, {{"filter_subject", filter}});
  }
  nlohmann::json redrive() {
    const auto finished = tidings({"dlq", "redrive", "--all", "--json"});
    return lines(finished.out).at(0);
  }
  [[nodiscard]] std::string subject_sent() { return js.messages("AUTH_EVENTS").back().subject; }
};

}  // namespace

TEST_CASE("a redriven event goes to the partition that its aggregate has by now") {
  Changed scene;
  scene.add_letter(GENERATE("auth.events.p03of04.user.created", "auth.events.user.created"));
  scene.add_durable("mailer-p03", "auth.events.p03of16.>");
  scene.add_durable("mailer-p08", "auth.events.p08of16.user.created");
  scene.add_durable("billing", "auth.events.>");
  CHECK(scene.redrive().at("outcome") == "sent");
  CHECK(scene.subject_sent() == "auth.events.p08of16.user.created");
  CHECK(scene.js.consumer("AUTH_EVENTS", "mailer-p08").num_pending == 1);
  CHECK(scene.js.consumer("AUTH_EVENTS", "mailer-p03").num_pending == 0);
}

TEST_CASE("a redriven event loses its partition where the group names types only") {
  Changed scene;
  scene.add_letter("auth.events.p03of04.user.created");
  scene.add_durable("mailer", "auth.events.user.>");
  CHECK(scene.redrive().at("outcome") == "sent");
  CHECK(scene.subject_sent() == "auth.events.user.created");
}

TEST_CASE("a redriven event keeps its subject where the group is handed that") {
  Changed scene;
  scene.add_letter("auth.events.p03of04.user.created");
  scene.add_durable("mailer", GENERATE("auth.events.>", "auth.events.*.user.created"));
  CHECK(scene.redrive().at("outcome") == "sent");
  CHECK(scene.subject_sent() == "auth.events.p03of04.user.created");
}

TEST_CASE("an event that its group would be handed under no subject of a relay's stays a dead letter") {
  Changed scene;
  const auto [original, filter] = GENERATE(
      table<std::string, std::string>({{"auth.events.p03of04.user.created", "auth.events.order.>"},
                                       {"auth.events.p03of04.user.created", "auth.events.p08of16.order.>"},
                                       {"auth.events.p03of04.user.created", "auth.events.p03of16.>"},
                                       {"auth.events.p03of04.user.created", "auth.events.p01of00.>"},
                                       {"auth.events.p03of04.renamed", "auth.events.p08of16.>"}}));
  scene.add_letter(original);
  scene.add_durable("mailer", filter);
  const auto refused = scene.redrive();
  CHECK(refused.at("outcome") == "refused");
  CHECK_THAT(refused.at("reason").get<std::string>(), ContainsSubstring("nobody would get it"));
  CHECK(scene.js.message_count("AUTH_EVENTS") == 0);
}
