#include "consumer/pull_status.hpp"

#include <charconv>

namespace tidings {
namespace {

PullStatus::Kind kind_of(std::string_view code, std::string_view description) {
  using enum PullStatus::Kind;
  const auto says = [description](std::string_view words) {
    return description.find(words) != std::string_view::npos;
  };
  if (code == "400" || says("Exceeded MaxRequest")) return refused;
  if (code == "100") return heartbeat;
  if (code == "404" || code == "408") return ended;
  if (code == "503") return no_responders;
  if (code != "409") return other;
  if (says("Deleted")) return deleted;
  if (says("Batch Completed")) return completed;
  if (says("Leadership")) return leadership_change;
  if (says("push based")) return became_push;
  if (says("Exceeds MaxBytes")) return too_large;
  return other;
}

std::string_view header_value(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK && value != nullptr ? value : std::string_view{};
}

}  // namespace

PullStatus PullStatus::parse(std::string_view code, std::string_view description, std::string_view pending) {
  PullStatus status;
  status.kind = kind_of(code, description);
  int count = 0;
  const auto [end, error] = std::from_chars(pending.data(), pending.data() + pending.size(), count);
  if (error == std::errc{} && end == pending.data() + pending.size()) status.missing = count;
  status.text = description;
  return status;
}

PullStatus PullStatus::of(natsMsg* message) {
  return parse(header_value(message, "Status"), header_value(message, "Description"),
               header_value(message, "Nats-Pending-Messages"));
}

}  // namespace tidings
