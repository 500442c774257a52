#include "inbox/attempt_columns.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace tidings {
namespace {

using State = Inbox::Attempts::State;

struct Name {
  State state;
  std::string_view column;
  std::string_view sentence;    ///< in last_error
  bool reason_follows = false;  ///< behind the sentence

  [[nodiscard]] bool is_in(std::string_view last_error) const {
    return reason_follows ? last_error.starts_with(sentence) : last_error == sentence;
  }
};
constexpr std::array names{
    Name{State::running_in_batch, "running_in_batch", "the process ended while handling it and others"},
    Name{State::running_isolated, "running_isolated", "the process ended while handling it"},
    Name{State::running_isolated_after_batch, "running_isolated_after_batch",
         "the process ended while handling it, after one in a batch"},
    Name{State::dead_letter, "dead_letter", "for the dead letters: ", true},
    Name{State::failed, "failed", "", true}};  // last, since every text begins with its empty sentence

const Name& understand(std::string_view last_error) {
  return *std::ranges::find_if(names, [last_error](const Name& name) { return name.is_in(last_error); });
}

std::string last_error(const Inbox::Attempts& attempts) {
  // An older binary must not read a handler's words as a record of ours.
  if (attempts.state == State::failed && understand(attempts.reason).state != State::failed)
    return "failed: " + attempts.reason;
  const auto& name = *std::ranges::find(names, attempts.state, &Name::state);
  return std::string{name.sentence} + (name.reason_follows ? attempts.reason : "");
}

std::optional<std::int64_t> milliseconds(const std::optional<Timestamp>& time) {
  return time ? std::optional{time->time_since_epoch().count()} : std::nullopt;
}

std::optional<Timestamp> timestamp(const std::optional<std::int64_t>& milliseconds) {
  return milliseconds ? std::optional{Timestamp{std::chrono::milliseconds{*milliseconds}}} : std::nullopt;
}

}  // namespace

AttemptColumns to_columns(const Inbox::Attempts& attempts) {
  AttemptColumns columns{.starts = attempts.starts,
                         .last_error = last_error(attempts),
                         .state = std::string{std::ranges::find(names, attempts.state, &Name::state)->column},
                         .reason = attempts.reason};
  columns.next_attempt = milliseconds(attempts.next_attempt);
  columns.message_stored_at = milliseconds(attempts.message_stored_at);
  return columns;
}

Inbox::Attempts from_columns(const AttemptColumns& columns) {
  if (const auto* name = std::ranges::find(names, columns.state, &Name::column); name != names.end()) {
    Inbox::Attempts attempts{.starts = columns.starts,
                             .state = name->state,
                             .reason = columns.reason,
                             .next_attempt = timestamp(columns.next_attempt),
                             .message_stored_at = timestamp(columns.message_stored_at)};
    if (last_error(attempts) == columns.last_error) return attempts;
  }
  const auto& name = understand(columns.last_error);
  return {.starts = columns.starts,
          .state = name.state,
          .reason = columns.last_error.substr(name.sentence.size())};
}

}  // namespace tidings
