#pragma once

// What a stream's configuration, as JetStream's JSON has it, means for those who publish to it and read from
// it. Does no I/O.

#include <tidings/stream.hpp>

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// Where the stream's messages come from instead of its own subjects: `mirror ORIGIN` or `sources A, B`;
/// empty when they come from nowhere else.
[[nodiscard]] std::string origin_of(const nlohmann::json& config);

/// How the subjects are changed under which messages are stored; both may have wildcards.
struct SubjectTransform {
  std::string source, destination;
};
[[nodiscard]] std::optional<SubjectTransform> transform_of(const nlohmann::json& config);

/// True when the subjects under which messages are stored may not be those under which they were published.
[[nodiscard]] bool renames_subjects(const nlohmann::json& config);

/// The subjects under which messages are stored, with wildcards: after transforms, and with those of a mirror
/// or of sources, which may be any.
[[nodiscard]] std::vector<std::string> stored_subjects(const nlohmann::json& config);

/// Throws NatsError naming the field and both values when the stream does not serve as the spec says.
void compare(const nlohmann::json& config, const StreamSpec& spec);

/// The limits by which the stream drops what a group may not have seen, `retention interest, max_msgs 100`;
/// empty when there are none. An age of a day and more is every stream's business.
[[nodiscard]] std::string discarding_limits(const nlohmann::json& config);

[[nodiscard]] AtomicBatches atomic_batches(const nlohmann::json& config);

/// With commas between them.
[[nodiscard]] std::string list_of(const std::vector<std::string>& subjects);

}  // namespace tidings
