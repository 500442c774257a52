#pragma once

// What is counted and measured of a processor for those who watch it, beside its status.

#include <tidings/timestamp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace tidings {

/// Who writes events chooses the names of their types, so only the first `most_types` are counted apart.
struct ProcessorFigures {
  static constexpr std::size_t most_types = 200;
  static constexpr const char* other_types = "other";

  struct Counts {
    std::uint64_t published = 0, refused = 0, dead_lettered = 0;
  };
  std::map<std::string, Counts, std::less<>> by_type{};
  std::optional<Timestamp> oldest_pending{};  ///< createdAt, as last seen by the active processor
  std::optional<Timestamp> last_write{};      ///< when the database last confirmed one
  std::chrono::milliseconds reading_for{0};   ///< how long the loop has been in one step
  std::chrono::milliseconds writing_for{0};   ///< how long outcomes have been written, without an answer
  bool connected = true;                      ///< to NATS, now
  std::chrono::milliseconds sending_for{0};   ///< how long NATS has taken nothing, or not answered the loop

  [[nodiscard]] Counts& of(const std::string& type) {
    if (const auto found = by_type.find(type); found != by_type.end()) return found->second;
    return by_type[by_type.size() < most_types ? type : other_types];
  }
};

}  // namespace tidings
