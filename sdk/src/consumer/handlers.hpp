#pragma once

// The handlers that a user has added, by the type of event that each takes.

#include <tidings/consumer_options.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace tidings {

class Handlers {
 public:
  struct Entry {
    std::function<void(const Delivery&)> handle;
    RetryPolicy retry{};
    std::string type{};  ///< as it was added
  };

  /// False when the type has one already.
  bool add(const std::string& type, Entry entry) {
    entry.type = type;
    return entries_.emplace(type, std::move(entry)).second;
  }
  [[nodiscard]] const Entry* find(const std::string& type) const {
    const auto found = entries_.find(type);
    return found == entries_.end() ? nullptr : &found->second;
  }
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

 private:
  std::map<std::string, Entry> entries_;
};

}  // namespace tidings
