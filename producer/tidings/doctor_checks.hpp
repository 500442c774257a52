#pragma once

// What `tidings doctor` looks at. What a check meets is what it has found, errors included.

#include "jetstream_api.hpp"

#include <tidings/database.hpp>
#include <tidings/outbox_processor.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

struct Finding {
  enum class Outcome {
    ok,
    warning,  ///< works, with a limit that an operator should know
    failed,
    skipped  ///< cannot be looked at: an earlier check failed, or this login may not
  };
  Outcome outcome = Outcome::ok;
  std::string detail;
  std::string fix{};  ///< for warning and failed
};

struct Check {
  std::string name;
  Finding finding;
};

/// Runs the check; what it throws is a failure with this fix, except SettingError.
[[nodiscard]] Finding look(const std::function<Finding()>& check, const std::string& fix);

/// Rights, schema, indexes, statistics and clock.
[[nodiscard]] std::vector<Check> check_database(Database& database);

/// The types of events that are not settled yet, each with an aggregate that has such an event.
using PendingTypes = std::map<std::string, std::string>;
[[nodiscard]] PendingTypes pending_types(Database& database);

struct BrokerExpectations {
  const OutboxProcessorOptions& outbox;
  std::optional<PendingTypes> types;      ///< what is going to be published; empty: nobody knows
  std::chrono::hours inbox_retention{0};  ///< for how long consumers remember what they have handled
};

/// JetStream, stream, permissions, partitions, clock and how long the stream keeps events.
[[nodiscard]] std::vector<Check> check_broker(JetStreamApi& api, const BrokerExpectations& expected);

/// What groups are handed and have pending, against the number of partitions.
[[nodiscard]] Finding check_partitions(JetStreamApi& api, const PublisherOptions& publisher);

/// By how much a clock may differ from this machine's.
inline constexpr std::chrono::milliseconds tolerated_difference{2000};
[[nodiscard]] Finding compare_clocks(const std::string& whose, std::chrono::milliseconds ahead);

}  // namespace tidings
