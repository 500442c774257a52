#include "nats/permission_errors.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidings {
namespace {

constexpr std::chrono::minutes logged_again_after{1};
constexpr std::string_view advisories = "$JS.EVENT.ADVISORY.";
constexpr std::size_t most_remembered = 64;
constexpr std::size_t most_recent = 16;

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

/// The text without its numbers, since each ack has its own subject:
/// `$JS.ACK.AUTH_EVENTS.mailer.1.7.7.170.0`.
std::string kind(std::string_view text) {
  std::string kind;
  std::unique_copy(text.begin(), text.end(), std::back_inserter(kind),
                   [](char left, char right) { return is_digit(left) && is_digit(right); });
  std::replace_if(kind.begin(), kind.end(), is_digit, '0');
  return kind;
}

}  // namespace

bool PermissionErrors::add(std::string_view text, Time now) {
  auto its_kind = kind(text);
  if (!refused_subject(text).starts_with(advisories)) {
    std::erase_if(recent_, [&its_kind](const Told& told) { return told.kind == its_kind; });
    recent_.push_front({its_kind, std::string{text}, now});
    if (recent_.size() > most_recent) recent_.pop_back();
  }
  std::erase_if(seen_, [now](const auto& entry) { return now - entry.second >= logged_again_after; });
  // Where each message has a subject of its own, it need not have a line of its own in the log.
  return seen_.size() < most_remembered && seen_.emplace(std::move(its_kind), now).second;
}

std::string PermissionErrors::latest(std::chrono::milliseconds age, Time now,
                                     const std::function<bool(std::string_view text)>& concerns) const {
  for (const auto& told : recent_)
    if (now - told.at <= age && (!concerns || concerns(told.text))) return told.text;
  return {};
}

std::string_view refused_subject(std::string_view text) {
  const auto begin = text.find('"');
  const auto end = text.find('"', begin == std::string_view::npos ? begin : begin + 1);
  return end == std::string_view::npos ? std::string_view{} : text.substr(begin + 1, end - begin - 1);
}

}  // namespace tidings
