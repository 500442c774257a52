#include "services/retry_schedule.hpp"

#include "support/catch.hpp"
#include "support/scheduled_event.hpp"

using namespace tidings;
using namespace std::chrono_literals;

namespace {

struct Schedule {
  Timestamp wall{1000h};
  OutboxProcessorOptions options = [this] {
    OutboxProcessorOptions two_tries;
    two_tries.max_retries = 2;
    two_tries.backoff = {.base = 10s, .max = 10s};
    two_tries.clock = [this] { return wall; };
    return two_tries;
  }();
  RetrySchedule retries{options};
};

OutboxEvent failed(int times) {
  auto event = test::event(1, "a");
  event.status = RowStatus::failed;
  event.retry_count = times;
  return event;
}

}  // namespace

TEST_CASE("time goes on as the wall clock does, and never back") {
  Schedule schedule;
  auto& [wall, options, retries] = schedule;
  const auto begun = retries.now();
  wall += 5s;
  CHECK(retries.now() - begun == 5s);
  wall -= 1h;
  CHECK(retries.now() - begun == 5s);
  wall += 2s;
  CHECK(retries.now() - begun == 7s);
  wall -= 30s;
  wall += 1s;
  CHECK(retries.now() - begun == 7s);
  wall += 3h;
  CHECK(retries.now() - begun == 3h + 7s);
}

TEST_CASE("a delay counts from its begin, and from now when that lies ahead") {
  Schedule schedule;
  auto& [wall, options, retries] = schedule;
  const auto now = retries.now();
  const auto event = failed(1);
  const auto delay = options.backoff.delay(1, event.id);
  CHECK(retries.due(event, wall - 3s) == now + delay - 3s);
  CHECK(retries.due(event, wall - 30s) == now);
  CHECK(retries.due(event, wall + 1h) == now + delay);
  wall -= 1h;  // what was written before the step lies ahead
  CHECK(retries.due(event, Timestamp{1000h}) == now + delay);
}

TEST_CASE("a row that has failed is due when its delay is over") {
  Schedule schedule;
  auto row = failed(1);
  row.updated_at = schedule.wall;
  CHECK(schedule.retries.due(row) == schedule.wall + schedule.options.backoff.delay(1, row.id));
}

TEST_CASE("a retry that a processor before this one has left is due now, another program's when it is old") {
  Schedule schedule;
  auto& [wall, options, retries] = schedule;
  auto row = failed(1);
  row.status = RowStatus::processing;
  row.updated_at = wall - options.backoff.delay(1, row.id);
  CHECK(retries.due(row) == wall);
  SECTION("it has never failed") { row.retry_count = 0; }
  SECTION("its delay was not over") { row.updated_at += 1ms; }
  SECTION("it has changed since this processor began") {
    row.updated_at = wall;
    wall += 20s;
  }
  CHECK(retries.due(row) == row.updated_at + options.processing_timeout);
  row.updated_at = wall + 1h;  // by the other's clock
  CHECK(retries.due(row) == wall + options.processing_timeout);
  row.updated_at = {};  // not a time that can be read
  CHECK(retries.due(row) == wall);
}

TEST_CASE("an event is dead after as many attempts as are allowed") {
  const Schedule schedule;
  CHECK_FALSE(schedule.retries.is_dead_letter(failed(1)));
  CHECK(schedule.retries.is_dead_letter(failed(2)));
}
