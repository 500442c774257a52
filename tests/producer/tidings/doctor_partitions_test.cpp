// What `tidings doctor` says of the number of partitions.

#include "clinic.hpp"
#include "nats/partition.hpp"

#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

using Names = std::vector<std::string>;

struct Partitioned : Clinic {
  Partitioned() : Clinic(Engine::sqlite) { add_stream(); }

  void publish(const std::string& subject, const std::string& for_group = "") {
    std::vector<std::pair<std::string, std::string>> headers{{"ce-specversion", "1.0"}};
    if (!for_group.empty()) headers.emplace_back("tidings-for-group", for_group);
    jetstream.publish("auth.events." + subject, "{}", headers);
  }
  void add_group(const json& config = json::object(), const std::string& name = "mailer") {
    jetstream.add_consumer("AUTH_EVENTS", name, config);
  }
  /// The group takes and acks all that is pending.
  void settle(const std::string& name = "mailer") {
    jetstream.delete_consumer("AUTH_EVENTS", name);
    add_group({{"deliver_policy", "new"}}, name);
  }
  [[nodiscard]] Diagnosis with(int partitions) const {
    return diagnose({}, {{"OUTBOX_PARTITIONS", std::to_string(partitions)}});
  }
};

}  // namespace

TEST_CASE("a doctor finds no fault with partitions where subjects and groups have the number") {
  Partitioned clinic;
  const int partitions = GENERATE(1, 16);
  CHECK(clinic.with(partitions).outcome("partitions") == "ok");
  clinic.publish(partitions == 1 ? "user.created" : "p07of16.user.created");
  clinic.add_group();
  clinic.add_group({{"filter_subject", "auth.events.>"}}, "audit");
  clinic.add_group({{"filter_subject", partitions == 1 ? "auth.events.user.>" : "auth.events.p07of16.>"}},
                   "reports-p07");
  clinic.add_group({{"filter_subject", "auth.events.*.created"}}, "any");
  const auto diagnosis = clinic.with(partitions);
  CHECK(diagnosis.exit == exited(0));
  CHECK(diagnosis.outcome("partitions") == "ok");
}

TEST_CASE("a doctor fails where the number was changed while a group has events pending from before") {
  Partitioned clinic;
  const auto [subject, before, now] = GENERATE(table<std::string, int, int>(
      {{"p07of16.user.created", 16, 32}, {"p07of16.user.created", 16, 1}, {"user.created", 1, 16}}));
  CAPTURE(before, now);
  clinic.add_group();
  clinic.publish(subject);
  const bool published = GENERATE(false, true);  // the relay runs with the other number already
  if (published) clinic.publish(now == 1 ? "user.created" : "p01of" + std::to_string(now) + ".user.created");
  CHECK(clinic.with(before).exit == exited(published ? 1 : 0));
  const auto changed = clinic.with(now);
  CHECK(changed.exit == exited(1));
  CHECK(changed.failed() == Names{"partitions"});
  CHECK_THAT(changed.detail("partitions"),
             ContainsSubstring("the group mailer still has events pending that were published with " +
                               std::to_string(before) + " partitions (auth.events." + subject + ")") &&
                 ContainsSubstring("OUTBOX_PARTITIONS=" + std::to_string(now)));
  CHECK_THAT(changed.fix("partitions"),
             ContainsSubstring("set OUTBOX_PARTITIONS=" + std::to_string(before)) &&
                 ContainsSubstring(how_to_change_partitions));
  clinic.settle();
  const auto settled = clinic.with(now);
  CHECK(settled.exit == exited(0));
  CHECK(settled.outcome("partitions") == (published ? "ok" : "warning"));
}

TEST_CASE("a doctor tells before a change that the stream's newest event has another number") {
  Partitioned clinic;
  clinic.publish("p07of16.user.created");
  const auto diagnosis = clinic.with(1);
  CHECK(diagnosis.exit == exited(0));
  CHECK(diagnosis.outcome("partitions") == "warning");
  CHECK_THAT(diagnosis.detail("partitions"), ContainsSubstring("published with 16"));
  CHECK_THAT(diagnosis.fix("partitions"), ContainsSubstring("set OUTBOX_PARTITIONS=16"));
}

TEST_CASE("a doctor passes over events that were sent again for a group") {
  Partitioned clinic;
  clinic.publish("p07of16.user.created");
  clinic.add_group({{"deliver_policy", "new"}});
  clinic.publish("p01of32.user.created");
  clinic.publish("p07of16.user.created", "mailer");
  clinic.publish("p07of16.user.created", "mailer");
  CHECK(clinic.with(32).outcome("partitions") == "ok");
}

TEST_CASE("a doctor finds groups whose filters miss what is published to partitions") {
  Partitioned clinic;
  const auto [filter, partitions, fix] = GENERATE(
      table<std::string, int, std::string>({{"auth.events.user.created", 16, "CONSUMER_FILTER=whole_stream"},
                                            {"auth.events.user.>", 2, "CONSUMER_FILTER=whole_stream"},
                                            {"auth.events.p07of16.>", 32, "the same number"},
                                            {"auth.events.p07of16.user.created", 1, "the same number"}}));
  clinic.add_group({{"filter_subject", filter}});
  const auto diagnosis = clinic.with(partitions);
  CHECK(diagnosis.failed() == Names{"partitions"});
  CHECK_THAT(diagnosis.detail("partitions"), ContainsSubstring("the group mailer is handed " + filter));
  CHECK_THAT(diagnosis.fix("partitions"), ContainsSubstring(fix));
}

TEST_CASE("a doctor leaves other prefixes of the stream alone") {
  Clinic clinic{Engine::sqlite};
  clinic.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>", "shop.events.>"});
  clinic.jetstream.add_consumer("AUTH_EVENTS", "shop", {{"filter_subject", "shop.events.paid"}});
  clinic.jetstream.publish("shop.events.p01of02.paid", "{}");
  CHECK(clinic.diagnose({}, {{"OUTBOX_PARTITIONS", "16"}}).outcome("partitions") == "ok");
}

TEST_CASE("a doctor tries the subjects of pending types in their partitions") {
  Clinic clinic{Engine::sqlite,
                {.config = R"(authorization { users [
                     { user: all, password: pw }
                     { user: relay, password: pw, permissions {
                         publish: [ "auth.events.user.created", "$JS.API.>" ]
                         subscribe: "_INBOX.>" } } ] })"},
                "all:pw@"};
  clinic.add_stream();
  clinic.outbox.add("foobar");
  const auto diagnose = [&](const std::string& partitions) {
    return clinic.diagnose({}, {{"NATS_URL", clinic.url("relay:pw@")}, {"OUTBOX_PARTITIONS", partitions}});
  };
  CHECK(diagnose("1").outcome("permissions") == "ok");
  const auto partitioned = diagnose("16");
  CHECK(partitioned.failed() == Names{"permissions"});
  CHECK_THAT(partitioned.detail("permissions"),
             ContainsSubstring("Permissions Violation for Publish to \"auth.events.p08of16.user.created\""));
  clinic.outbox.add("a", "{}", "1.2.3.4.5.6.7.8.9.10.11.12.13.14");
  CHECK_THAT(diagnose("16").detail("permissions"), ContainsSubstring("16 parts"));
}

TEST_CASE("a doctor that may not look at groups skips their check") {
  Clinic clinic{Engine::sqlite,
                {.config = R"(authorization { users [
                     { user: all, password: pw }
                     { user: relay, password: pw, permissions {
                         publish: [ "auth.events.>", "$JS.API.STREAM.INFO.AUTH_EVENTS" ]
                         subscribe: "_INBOX.>" } } ] })"},
                "all:pw@"};
  clinic.add_stream();
  const auto diagnosis = clinic.diagnose({}, {{"NATS_URL", clinic.url("relay:pw@")}});
  CHECK(diagnosis.exit == exited(0));
  CHECK(diagnosis.outcome("partitions") == "skipped");
  CHECK_THAT(diagnosis.detail("partitions"), ContainsSubstring("CONSUMER.LIST"));
}
