// A service with the real Prisma client writes the outbox of our schema, and our relay publishes it.

#include "support/catch.hpp"
#include "support/prisma_service.hpp"
#include "support/relays.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <map>

using namespace tidings::test;
using nlohmann::json;
using std::chrono::duration_cast;
using std::chrono::microseconds;

namespace {

std::map<std::string, StoredMessage> by_id(const std::vector<StoredMessage>& messages) {
  std::map<std::string, StoredMessage> found;
  for (const auto& message : messages) found.emplace(message.header("ce-id"), message);
  return found;
}

bool is_cuid(const std::string& id) {
  return id.size() == 25 && id.front() == 'c' &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos;
}

void check_event(const PrismaEvent& event, const StoredMessage& message) {
  INFO(event.id);
  CHECK(is_cuid(event.id));
  CHECK(message.subject == "auth.events.user.created");
  CHECK(message.header("Nats-Msg-Id") == message.header("ce-source") + "/" + event.id);
  CHECK(message.header("ce-type") == "user.created");
  CHECK(message.header("ce-subject") == event.aggregate_id);
  CHECK(message.header("ce-aggregatetype") == "User");
  CHECK(message.header("ce-eventversion") == "1");
  CHECK(message.header("ce-time") == event.occurred_at);
  const bool plain = !event.event_data.contains("data");
  CHECK(json::parse(message.data) == (plain ? event.event_data : event.event_data.at("data")));
  CHECK(message.header("ce-source") == (plain ? "auth-service" : "nest-auth"));
  if (!plain) CHECK(json::parse(message.header("ce-metadata")) == event.event_data.at("metadata"));
}

/// Milliseconds, at a share of all.
double percentile(std::vector<microseconds> all, std::size_t percent) {
  std::ranges::sort(all);
  return static_cast<double>(all.at((all.size() - 1) * percent / 100).count()) / 1000;
}

/// From before the commit of each until the stream had it: what is told is never too little.
struct Delays {
  std::vector<microseconds> since_asked, since_confirmed;

  [[nodiscard]] std::string text() const {
    std::string told;
    for (const auto& [what, all] :
         {std::pair{"asked for", &since_asked}, std::pair{"confirmed", &since_confirmed}})
      told += std::string{told.empty() ? "" : ", "} + "after the commit was " + what + ": p50 " +
              std::to_string(percentile(*all, 50)) + ", p99 " + std::to_string(percentile(*all, 99)) + " ms";
    return told;
  }
};

/// The service's own table is that of the auth service.
void migrate(const Relays& relays, const std::vector<std::string>& flags = {}) {
  std::vector<std::string> arguments{"migrate"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const ProcessOptions on_its_database{
      .environment = {{"DATABASE_URL", relays.outbox.url()}}, .input = {}, .log_folder = {}};
  REQUIRE(run(executable("auth-service"), arguments, on_its_database).exit == exited(0));
}

/// All events are in the stream, as they must be.
Delays check_stream(Relays& relays, const std::vector<PrismaEvent>& events) {
  REQUIRE_WITHIN(20s, relays.published() == static_cast<std::int64_t>(events.size()));
  CHECK(relays.audit() == "");
  const auto messages = by_id(relays.jetstream.messages("AUTH_EVENTS"));
  Delays delays;
  for (const auto& event : events) {
    REQUIRE(messages.contains(event.id));
    const auto& message = messages.at(event.id);
    check_event(event, message);
    delays.since_asked.push_back(duration_cast<microseconds>(message.stored - event.commit_asked));
    delays.since_confirmed.push_back(duration_cast<microseconds>(message.stored - event.commit_confirmed));
  }
  return delays;
}

}  // namespace

TEST_CASE("what a service with Prisma commits is published within 20 ms when the trigger is there") {
  if (const auto why = why_no_prisma(); !why.empty()) {
    WARN("not tested: " << why);
    return;
  }
  Relays relays{Engine::postgres};
  migrate(relays);
  migrate(relays, {"--outbox-only", "--notify-trigger"});
  const auto relay = relays.start({{"OUTBOX_PROCESSING_INTERVAL_MS", "60000"}});  // it is woken, or late
  REQUIRE_WITHIN(20s, relays.active() == relay.pid());

  const auto events = register_with_prisma(relays.outbox.url(), 50, 20ms);
  REQUIRE(events.size() == 50);
  const auto delays = check_stream(relays, events);
  WARN("published " << delays.text());
  CHECK(percentile(delays.since_asked, 50) <= 20);
}

TEST_CASE("what a service with Prisma commits is published within the poll interval without the trigger") {
  if (const auto why = why_no_prisma(); !why.empty()) {
    WARN("not tested: " << why);
    return;
  }
  Relays relays{Engine::postgres};
  migrate(relays);
  const auto relay = relays.start({{"OUTBOX_PROCESSING_INTERVAL_MS", "1000"}});
  REQUIRE_WITHIN(20s, relays.active() == relay.pid());

  const auto events = register_with_prisma(relays.outbox.url(), 12, 150ms);
  REQUIRE(events.size() == 12);
  const auto delays = check_stream(relays, events);
  WARN("published " << delays.text());
  // Not by the default interval, which is 5000 ms: no bound on how busy the machine may be.
  CHECK(percentile(delays.since_asked, 100) < 5000);
}
