#include <tidings/uuid.hpp>

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <random>

namespace tidings {
namespace {

std::uint64_t fresh_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

struct Sequence {
  std::mutex mutex;
  pid_t process = getpid();
  std::mt19937_64 random{fresh_seed()};
  std::uint64_t last = 0;  // milliseconds << 12 | counter: RFC 9562, method 1
};

}  // namespace

std::string new_uuid(Timestamp time) {
  static Sequence sequence;
  std::unique_lock lock{sequence.mutex};
  if (const auto process = getpid(); process != sequence.process) {
    // A forked child must not go on with its parent's numbers.
    sequence.process = process;
    sequence.random.seed(fresh_seed());
  }
  // Time and counter never get smaller, also when the clock is set back.
  const auto millis = static_cast<std::uint64_t>(time.time_since_epoch().count());
  const std::uint64_t fresh = (millis << 12U) | (sequence.random() & 0x3ffU);
  const auto ticks = std::max(fresh, sequence.last + 1);
  sequence.last = ticks;
  const std::uint64_t noise = sequence.random();
  lock.unlock();
  char text[37];
  std::snprintf(text, sizeof text, "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
                (ticks >> 28U) & 0xffffffffU, (ticks >> 12U) & 0xffffU, 0x7000U | (ticks & 0xfffU),
                0x8000U | (noise >> 50U), noise & 0xffffffffffffU);
  return text;
}

}  // namespace tidings
