#include "nats/permission_errors.hpp"

#include <algorithm>
#include <iterator>

namespace tidings {
namespace {

constexpr std::chrono::minutes logged_again_after{1};
constexpr std::string_view advisories = "$JS.EVENT.ADVISORY.";
constexpr std::size_t most_remembered = 64;

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
  if (!refused_subject(text).starts_with(advisories)) {
    latest_ = text;
    latest_at_ = now;
  }
  std::erase_if(seen_, [now](const auto& entry) { return now - entry.second >= logged_again_after; });
  // Where each message has a subject of its own, it need not have a line of its own in the log.
  return seen_.size() < most_remembered && seen_.emplace(kind(text), now).second;
}

std::string PermissionErrors::latest(std::chrono::milliseconds age, Time now) const {
  return latest_.empty() || now - latest_at_ > age ? std::string{} : latest_;
}

std::string_view refused_subject(std::string_view text) {
  const auto begin = text.find('"');
  const auto end = text.find('"', begin == std::string_view::npos ? begin : begin + 1);
  return end == std::string_view::npos ? std::string_view{} : text.substr(begin + 1, end - begin - 1);
}

}  // namespace tidings
