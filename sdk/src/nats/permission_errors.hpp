#pragma once

// What the server refuses a user: it says so by itself, beside the answers, and what was refused gets none.
// Told once each, since a client that keeps trying is refused each time.

#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace tidings {

class PermissionErrors {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// The server's words: `Permissions Violation for Publish to "auth.events.user.created"`. True when they
  /// are news: not told within the last minute.
  bool add(std::string_view text, Time now);

  /// The latest, when it came within `age`; else empty. Not of an advisory: nothing waits for those.
  [[nodiscard]] std::string latest(std::chrono::milliseconds age, Time now) const;

 private:
  std::map<std::string, Time, std::less<>> told_;
  std::string latest_;
  Time latest_at_{};
};

/// The subject that the server's words name; empty when they name none.
[[nodiscard]] std::string_view refused_subject(std::string_view text);

}  // namespace tidings
