#include <tidings/uuid.hpp>

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
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

/// The next 60 bits of time and counter: never smaller than the last, also when the clock steps back.
std::uint64_t next_ticks(Sequence& sequence, std::uint64_t millis) {
  const std::uint64_t fresh = (millis << 12U) | (sequence.random() & 0x3ffU);
  sequence.last = std::max(fresh, sequence.last + 1);
  return sequence.last;
}

void append_hex(std::string& out, std::uint64_t value, int digits) {
  constexpr const char* alphabet = "0123456789abcdef";
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) out += alphabet[(value >> shift) & 0xfU];
}

}  // namespace

std::string new_uuid(Timestamp time) {
  static Sequence sequence;
  std::uint64_t ticks = 0;
  std::uint64_t noise = 0;
  {
    const std::lock_guard lock{sequence.mutex};
    if (const auto process = getpid(); process != sequence.process) {
      // A forked child must not go on with its parent's numbers.
      sequence.process = process;
      sequence.random.seed(fresh_seed());
    }
    ticks = next_ticks(sequence, static_cast<std::uint64_t>(time.time_since_epoch().count()));
    noise = sequence.random();
  }
  std::string id;
  id.reserve(36);
  append_hex(id, ticks >> 28U, 8);
  id += '-';
  append_hex(id, (ticks >> 12U) & 0xffffU, 4);
  id += '-';
  append_hex(id, 0x7000U | (ticks & 0xfffU), 4);
  id += '-';
  append_hex(id, 0x8000U | (noise >> 50U), 4);
  id += '-';
  append_hex(id, noise & 0xffffffffffffULL, 12);
  return id;
}

}  // namespace tidings
