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
  std::optional<Timestamp> began{};  ///< the time that it began at; empty when it did not begin at a time
};

/// The durable begins at `first_sequence` of the stream. When that is 0, a group that was known before begins
/// where it began then (Start::At::now would leave out what came since), and any other where the options say.
/// Throws NatsError.
void make_group(Connection& connection, const ConsumerOptions& options, std::uint64_t first_sequence,
                const GroupBefore& before);

}  // namespace tidings
