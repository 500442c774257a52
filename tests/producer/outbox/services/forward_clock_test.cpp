#include "services/forward_clock.hpp"

#include "support/catch.hpp"

using namespace tidings;
using namespace std::chrono_literals;

namespace {

struct WallClock {
  Timestamp time{1000h};
  ForwardClock forward{[this] { return time; }};
};

}  // namespace

TEST_CASE("time goes on as the wall clock does, and never back") {
  WallClock clock;
  const auto begun = clock.forward.now();
  clock.time += 5s;
  CHECK(clock.forward.now() - begun == 5s);
  clock.time -= 1h;
  CHECK(clock.forward.now() - begun == 5s);
  clock.time += 2s;
  CHECK(clock.forward.now() - begun == 7s);
  clock.time -= 30s;
  clock.time += 1s;
  CHECK(clock.forward.now() - begun == 7s);
  clock.time += 3h;
  CHECK(clock.forward.now() - begun == 3h + 7s);
}

TEST_CASE("a delay counts from its begin, and from now when that lies ahead") {
  WallClock clock;
  const auto now = clock.forward.now();
  CHECK(clock.forward.after(clock.time - 3s, 10s) == now + 7s);
  CHECK(clock.forward.after(clock.time - 30s, 10s) == now);
  CHECK(clock.forward.after(clock.time + 1h, 10s) == now + 10s);
  clock.time -= 1h;  // what was written before the step lies ahead
  CHECK(clock.forward.after(Timestamp{1000h}, 10s) == now + 10s);
}
