#pragma once

// How the table inbox_attempt keeps Inbox::Attempts. Its first version had a count and a sentence,
// last_error, whose wording said what was known. Binaries of that time may run beside ours: last_error is
// still written as they read it, and a last_error that does not go with the newer columns shows that they
// have written since.

#include "inbox/inbox.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace tidings {

/// A row without its key.
struct AttemptColumns {
  int starts = 0;
  std::string last_error;
  std::string state{};  ///< empty in a row of the first version, where it is NULL
  std::string reason{};
  std::optional<std::int64_t> next_attempt{};       ///< milliseconds since the Unix epoch
  std::optional<std::int64_t> message_stored_at{};  ///< the same
};

[[nodiscard]] AttemptColumns to_columns(const Inbox::Attempts& attempts);
[[nodiscard]] Inbox::Attempts from_columns(const AttemptColumns& columns);

}  // namespace tidings
