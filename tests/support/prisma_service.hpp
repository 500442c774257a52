#pragma once

// A service in another language: it registers users with the real Prisma client, from npm. See flow/prisma.

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace tidings::test {

using Instant = std::chrono::sys_time<std::chrono::microseconds>;

/// A user and its event, as the service committed them.
struct PrismaEvent {
  std::string id, aggregate_id, occurred_at;
  nlohmann::json event_data;
  Instant commit_asked, commit_confirmed;  ///< the commit was between these
};

/// Why the client cannot be had on this machine: no Node.js that is new enough, no npm, no registry. Empty
/// when it is there; it is installed once a build. Throws when what we ask npm for is at fault.
[[nodiscard]] std::string why_no_prisma();

/// Registers users with `pause` between them, and one in vain. The data of the first is plain, without
/// metadata.
[[nodiscard]] std::vector<PrismaEvent> register_with_prisma(const std::string& database_url, int users,
                                                            std::chrono::milliseconds pause);

}  // namespace tidings::test
