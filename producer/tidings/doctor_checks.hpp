#pragma once

// What `tidings doctor` looks at. What a check meets is what it has found, errors included.

#include "jetstream_api.hpp"

#include <tidings/database.hpp>
#include <tidings/outbox_processor.hpp>

#include <chrono>
#include <functional>
#include <optional>
#include <set>
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

/// Of the events that are not settled yet.
[[nodiscard]] std::set<std::string> pending_types(Database& database);

struct BrokerExpectations {
  const OutboxProcessorOptions& outbox;
  std::optional<std::set<std::string>> types;  ///< what is going to be published; empty: nobody knows
  std::chrono::hours inbox_retention{0};       ///< for how long consumers remember what they have handled
};

/// JetStream, stream, permissions, clock and how long the stream keeps events.
[[nodiscard]] std::vector<Check> check_broker(JetStreamApi& api, const BrokerExpectations& expected);

/// By how much a clock may differ from this machine's.
inline constexpr std::chrono::milliseconds tolerated_difference{2000};
[[nodiscard]] Finding compare_clocks(const std::string& whose, std::chrono::milliseconds ahead);

}  // namespace tidings
