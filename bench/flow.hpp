#pragma once

// The whole flow, each part a process of its own: a writer, a relay, a consumer.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace tidings::bench {

/// Handles so many events, in a process of its own, and calls `handled` after each commit for each event of
/// it.
using Handle = std::function<void(int events, const std::function<void()>& handled)>;

/// 200 commits a second to the outbox at `outbox_url`, which has its tables. Milliseconds from the return of
/// each of the writer's commits to that of the consumer's.
[[nodiscard]] std::vector<double> flow_latencies(const std::string& url, const std::string& outbox_url,
                                                 int events, const Handle& handle);

template <class Consumer>
void handle_with(Consumer& consumer, int events, const std::function<void()>& handled) {
  std::jthread work{[&](const std::stop_token& stop) { consumer.run(stop); }};
  for (std::uint64_t seen = 0; seen < static_cast<std::uint64_t>(events);) {
    for (const auto now = consumer.stats().handled; seen < now; ++seen) handled();
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
}

}  // namespace tidings::bench
