// `tidings outbox list` and `show`.

#include "safe_output.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"

using namespace tidings::test;

TEST_CASE(
    "what somebody has written into the outbox does not steer the operator's terminal, nor end the program") {
  Outbox outbox;
  const auto id = outbox.add("user-1");
  outbox.execute("UPDATE outbox_event SET lastError = '" + hostile_text + "', aggregateId = '" +
                 hostile_text + "'");
  const auto data = GENERATE(as<std::string>{}, hostile_text, "{\"data\": {\"name\": \"\xc2\x9b\"}}",
                             std::string(200000, '[') + std::string(200000, ']'));
  outbox.execute("UPDATE outbox_event SET eventData = '" + data + "'");
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"outbox", "list"},
                                                                     {"outbox", "list", "--json"},
                                                                     {"outbox", "show", id},
                                                                     {"outbox", "show", id, "--json"}}) {
    const auto finished =
        run(executable("tidings"), arguments, {.environment = {{"DATABASE_URL", outbox.url()}}});
    CAPTURE(arguments, finished.err);
    CHECK(finished.exit == exited(0));
    CHECK(is_safe(finished.out));
    CHECK(is_safe(finished.err));
  }
}
