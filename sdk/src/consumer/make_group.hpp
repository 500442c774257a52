#pragma once

// Makes a group's durable, which begins where the options or the inbox say.

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// The description of a durable whose filter may be widened: nobody but Tidings has chosen it.
inline constexpr const char* follows_types = "filters by the types that have handlers, widened by Tidings";

/// What this instance knows of the group from before.
struct GroupBefore {
  bool known = false;
  std::optional<Timestamp> began{};  ///< the time that it began at; empty when it did not begin at a time
};

/// The durable begins at `first_sequence` of the stream. When that is 0, a group that was known before begins
/// where it began then (Start::At::now would leave out what came since), and any other where the options say.
/// Throws NatsError.
void make_group(Connection& connection, const ConsumerOptions& options,
                const std::vector<std::string>& filters, std::uint64_t first_sequence,
                const GroupBefore& before);

// In a durable's configuration, instead of what it has.
void set_filters(nlohmann::json& config, const std::vector<std::string>& filters);
void begin_at(nlohmann::json& config, std::uint64_t sequence);

/// Makes the durable, or changes it. Its info. Throws NatsError.
nlohmann::json put_group(Connection& connection, const ConsumerOptions& options,
                         const nlohmann::json& config);

/// Throws NatsError.
void delete_group(Connection& connection, const ConsumerOptions& options, const std::string& why);

}  // namespace tidings
