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
  std::string_view sentence;  ///< of the first version
};
constexpr std::array running{
    Name{State::running_in_batch, "running_in_batch", "the process ended while handling it and others"},
    Name{State::running_isolated, "running_isolated", "the process ended while handling it"},
    Name{State::running_isolated_after_batch, "running_isolated_after_batch",
         "the process ended while handling it, after one in a batch"}};
constexpr std::string_view dead_letter_column = "dead_letter";
constexpr std::string_view dead_letter_sentence = "for the dead letters: ";
constexpr std::string_view failed_column = "failed";

bool has_a_meaning(std::string_view sentence) {
  return sentence.starts_with(dead_letter_sentence) ||
         std::ranges::find(running, sentence, &Name::sentence) != running.end();
}

std::string last_error(const Inbox::Attempts& attempts) {
  if (const auto* name = std::ranges::find(running, attempts.state, &Name::state); name != running.end())
    return std::string{name->sentence};
  if (attempts.state == State::dead_letter) return std::string{dead_letter_sentence} + attempts.reason;
  // A handler's words are no record of ours: the older binary must not take them for one, either.
  return has_a_meaning(attempts.reason) ? "failed: " + attempts.reason : attempts.reason;
}

std::string_view column(State state) {
  if (const auto* name = std::ranges::find(running, state, &Name::state); name != running.end())
    return name->column;
  return state == State::dead_letter ? dead_letter_column : failed_column;
}

std::optional<State> state_of(std::string_view column) {
  if (const auto* name = std::ranges::find(running, column, &Name::column); name != running.end())
    return name->state;
  if (column == dead_letter_column) return State::dead_letter;
  if (column == failed_column) return State::failed;
  return std::nullopt;
}

Inbox::Attempts from_first_version(int starts, std::string_view sentence) {
  if (const auto* name = std::ranges::find(running, sentence, &Name::sentence); name != running.end())
    return {.starts = starts, .state = name->state};
  if (sentence.starts_with(dead_letter_sentence))
    return {.starts = starts,
            .state = State::dead_letter,
            .reason = std::string{sentence.substr(dead_letter_sentence.size())}};
  return {.starts = starts, .state = State::failed, .reason = std::string{sentence}};
}

}  // namespace

AttemptColumns to_columns(const Inbox::Attempts& attempts) {
  AttemptColumns columns{.starts = attempts.starts,
                         .last_error = last_error(attempts),
                         .state = std::string{column(attempts.state)},
                         .reason = attempts.reason};
  if (attempts.next_attempt) columns.next_attempt = attempts.next_attempt->time_since_epoch().count();
  return columns;
}

Inbox::Attempts from_columns(const AttemptColumns& columns) {
  if (const auto state = state_of(columns.state.value_or(""))) {
    Inbox::Attempts attempts{.starts = columns.starts, .state = *state, .reason = columns.reason};
    if (columns.next_attempt)
      attempts.next_attempt = Timestamp{std::chrono::milliseconds{*columns.next_attempt}};
    if (last_error(attempts) == columns.last_error) return attempts;
  }
  return from_first_version(columns.starts, columns.last_error);
}

}  // namespace tidings
