#pragma once

// The server's permission errors. They come by themselves, outside of the answers: a request that was refused
// gets no answer at all. Each is logged once, since a client that keeps trying is refused each time.

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace tidings {

class PermissionErrors {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// The server's words: `Permissions Violation for Publish to "auth.events.user.created"`. True when they
  /// are worth logging: not seen within the last minute.
  bool add(std::string_view text, Time now);

  /// The latest error that came within `age` and that `concerns`, when it is there, takes; empty when there
  /// is none. Errors about advisories do not count: nothing waits for those.
  [[nodiscard]] std::string latest(std::chrono::milliseconds age, Time now,
                                   const std::function<bool(std::string_view text)>& concerns = {}) const;

 private:
  struct Told {
    std::string kind, text;
    Time at{};
  };
  std::map<std::string, Time, std::less<>> seen_;  // by kind
  std::deque<Told> recent_;                        // the latest first, one of each kind
};

/// The subject that the server's words name; empty when they name none.
[[nodiscard]] std::string_view refused_subject(std::string_view text);

}  // namespace tidings
