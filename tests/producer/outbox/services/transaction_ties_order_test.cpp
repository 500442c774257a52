// The order of events that one transaction has written in the same millisecond, where one of them is refused
// and the others wait in the table.

#include "support/catch.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/random_ids.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr int aggregates = 40, events_each = 5;

/// One of each transaction is larger than the stream takes at first.
void write_transactions(const Outbox& outbox) {
  RandomIds ids{7};
  std::string all;
  for (int aggregate = 0; aggregate < aggregates; ++aggregate) {
    all += "BEGIN; ";
    for (int number = 0; number < events_each; ++number)
      all += insert_columns +
             values(ids.next(), std::to_string(aggregate), number,
                    number == aggregate % events_each ? 2000 : 0) +
             "; ";
    all += "COMMIT; ";
  }
  outbox.execute(all);
}

int inverted(const std::vector<StoredMessage>& stream) {
  int count = 0;
  std::map<std::string, int> last;
  for (const auto& message : stream) {
    const auto number = nlohmann::json::parse(message.data).at("n").get<int>();
    auto& before = last[message.header("ce-subject")];
    if (number < before) ++count;
    before = number;
  }
  return count;
}

}  // namespace

TEST_CASE("events of one transaction and millisecond stay in order behind one that is refused", "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  write_transactions(outbox);
  const bool restarts = GENERATE(false, true);
  CAPTURE(restarts);
  OutboxProcessorOptions options;
  options.processing_interval = 60s;  // nothing is left to be found by a look at the whole table
  options.backoff = {.base = 300ms, .max = 300ms};
  options.max_retries = 1000;
  options.batch_size = 100;
  std::optional<Processor> processor{std::in_place, outbox, server.url(), options};
  REQUIRE_WITHIN(20s, outbox.count_status("FAILED") == aggregates);
  if (restarts) {
    processor.reset();
    processor.emplace(outbox, server.url(), options);
    REQUIRE_WITHIN(20s, processor->active());
  }
  auto config = jetstream.stream_config("AUTH_EVENTS");
  config["max_msg_size"] = 100'000;
  jetstream.api("STREAM.UPDATE.AUTH_EVENTS", config);
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == aggregates * events_each);
  const auto stream = jetstream.messages("AUTH_EVENTS");
  CHECK(stream.size() == aggregates * events_each);
  CHECK(inverted(stream) == 0);
}
