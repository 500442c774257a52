#pragma once

// What became of events, by their type.

#include <tidings/consumer_status.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

namespace tidings {

/// Senders choose the names of types, so only the first `most_types` are counted apart.
class TypeCounts {
 public:
  static constexpr std::size_t most_types = 200;
  static constexpr const char* rest = "other types";

  struct Counts {
    using Count = std::atomic<std::uint64_t>;
    Count handled{0}, retried{0}, unavailable{0}, dead_lettered{0}, ignored{0};
  };

  /// To be called by one thread, which may count without a lock.
  [[nodiscard]] Counts& of(const std::string& type);
  /// Thread-safe.
  [[nodiscard]] std::map<std::string, TypeStats> read() const;

 private:
  mutable std::mutex mutex_;  // held when a type is added, and by other threads
  std::unordered_map<std::string, Counts> by_type_;
};

}  // namespace tidings
