#pragma once

// The handlers that a user has added, by the types of events that they take.

#include <tidings/consumer_options.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

class Handlers {
 public:
  struct Entry {
    std::function<void(const Delivery&)> handle;
    RetryPolicy retry{};
    std::string type{};  ///< the type or pattern, as it was added
  };

  /// `user.*` takes all types that begin with `user.`. Throws SettingError for another pattern, and Error
  /// when the type or pattern has a handler already.
  void add(const std::string& type, Entry entry);
  /// For what no other handler takes. Throws Error when there is one already.
  void add_any(Entry entry);

  /// The handler of exactly this type, else that of the longest pattern that fits, else that of add_any().
  /// nullptr when there is none.
  [[nodiscard]] const Entry* find(std::string_view type) const;
  /// The types and patterns as they were added; nothing when a handler takes any type.
  [[nodiscard]] std::optional<std::vector<std::string>> types() const;
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

 private:
  using Entries = std::map<std::string, Entry, std::less<>>;

  Entries by_type_, by_prefix_;  // a prefix ends with a dot
  std::optional<Entry> any_;
};

}  // namespace tidings
