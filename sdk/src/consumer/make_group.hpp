#pragma once

// Makes a group's durable, which begins where the options or the inbox say.

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <cstdint>
#include <optional>

namespace tidings {

/// What this instance knows of the group from before.
struct GroupBefore {
  bool known = false;
  std::optional<Timestamp> began{};  ///< when it began with what was stored from a time on
};

/// Begins at `first_sequence` of the stream. When that is 0, one that was known before begins where it did
/// then, since what is new now is not new to it, and any other one where the options say. Throws NatsError.
void make_group(Connection& connection, const ConsumerOptions& options, std::uint64_t first_sequence,
                const GroupBefore& before);

}  // namespace tidings
