#pragma once

// What handlers do at their worst.

#include "support/test_inbox.hpp"

#include <chrono>
#include <string>
#include <vector>

namespace tidings::test {

/// Where that throws nothing, the handler throws misdeed_error then.
struct Misdeed {
  const char* name;
  void (*commit)(TestInbox& inbox);
  std::vector<std::string> reasons;  ///< of the dead letter when it was the last: one of them
};

inline constexpr const char* misdeed_error = "at its worst";
inline constexpr std::chrono::seconds misdeed_time_limit{3};  ///< that its consumer sets its handlers

/// In another order for each event, and from the first again when all were done. One hangs at first, so that
/// this is always among what is done.
[[nodiscard]] std::vector<Misdeed> misdeeds(const std::string& event_id);

/// A statement that was left un-reset goes before its database.
void forget_misdeeds();

}  // namespace tidings::test
