// Streams that copy what a processor has published: nothing that it stores may keep an event from being
// copied.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

std::vector<std::string> ids(const std::vector<StoredMessage>& messages, const std::string& type = {}) {
  std::vector<std::string> found;
  for (const auto& message : messages)
    if (type.empty() || message.header("ce-type") == type) found.push_back(message.header("ce-id"));
  return found;
}

/// Commits events of two types in turn.
void add_pairs(Outbox& outbox, int count) {
  for (int i = 0; i < count; ++i) {
    outbox.add("user-" + std::to_string(i));
    outbox.add("user-" + std::to_string(i), "{}", "user.deleted");
  }
}

}  // namespace

TEST_CASE("a filtered source and a mirror of the stream copy every event, also of one that was purged") {
  const bool purged = GENERATE(false, true);
  NatsServer server;
  JetStream js{server.url()};
  Outbox outbox;
  Processor processor{outbox, server.url(), {}};
  if (purged) {
    add_pairs(outbox, 5);
    REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 10);
    js.purge("AUTH_EVENTS");
  }
  add_pairs(outbox, 50);
  REQUIRE_WITHIN(20s, outbox.count_status("PENDING") == 0);

  js.add_stream("DELETED", {},
                {{"sources", {{{"name", "AUTH_EVENTS"}, {"filter_subject", "auth.events.user.deleted"}}}}});
  js.add_stream("COPY", {}, {{"mirror", {{"name", "AUTH_EVENTS"}}}});
  CHECK(eventually(10s, [&] { return js.message_count("DELETED") == 50; }));
  CHECK(eventually(10s, [&] { return js.message_count("COPY") == 100; }));
  add_pairs(outbox, 5);
  REQUIRE_WITHIN(20s, outbox.count_status("PENDING") == 0);
  CHECK(eventually(10s, [&] { return js.message_count("DELETED") == 55; }));
  CHECK(eventually(10s, [&] { return js.message_count("COPY") == 110; }));

  const auto stream = js.messages("AUTH_EVENTS");
  CHECK(ids(js.messages("DELETED")) == ids(stream, "user.deleted"));
  CHECK(ids(js.messages("COPY")) == ids(stream));
}
