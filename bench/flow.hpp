#pragma once

// The whole flow, each part a process of its own: a writer, a relay, a consumer.

#include <string>
#include <vector>

namespace tidings::bench {

/// 200 commits a second. Milliseconds from the return of each of the writer's commits to that of the
/// consumer's.
[[nodiscard]] std::vector<double> flow_latencies(const std::string& url, int events);

}  // namespace tidings::bench
