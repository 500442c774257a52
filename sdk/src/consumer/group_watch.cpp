#include "consumer/group_watch.hpp"

#include "nats/handle.hpp"
#include "nats/native.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <utility>

namespace tidings {

using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr seconds interval{10};

}  // namespace

GroupState GroupState::parse(std::string_view answer) {
  const auto state = nlohmann::json::parse(answer, nullptr, false);
  if (!state.is_object()) return {};  // empty from nobody: JetStream is electing
  if (const auto error = state.find("error"); error != state.end()) {
    const int code = error->value("err_code", 0);
    const bool gone = code == JSConsumerNotFoundErr || code == JSStreamNotFoundErr;
    return {.kind = gone ? Kind::deleted : Kind::unknown};
  }
  return {.kind = Kind::present,
          .created = state.value("created", std::string{}),
          .num_pending = state.value("num_pending", std::uint64_t{0}),
          .num_ack_pending = state.value("num_ack_pending", std::uint64_t{0})};
}

void GroupWatch::ask_if_due(const Group& group, Time now) {
  if (now < ask_again_ || !connection_.connected()) return;
  ask_again_ = now + interval;
  const auto subject = "$JS.API.CONSUMER.INFO." + group.stream + "." + group.durable;
  natsConnection_PublishRequestString(native(connection_), subject.c_str(), answers_.c_str(), "");
}

GroupWatch::News GroupWatch::read(std::string_view answer, const Group& group) {
  auto state = GroupState::parse(answer);
  if (state.kind == GroupState::Kind::unknown) return News::none;
  if (state.kind == GroupState::Kind::deleted) return News::deleted;
  gauges_.lag = state.num_pending;
  num_ack_pending_ = state.num_ack_pending;
  warn_of_waiting_events(group);
  const auto before = std::exchange(created_, std::move(state.created));
  return before && *before != *created_ ? News::made_again : News::none;
}

void GroupWatch::on_delayed(std::chrono::milliseconds delay, const Group& group) {
  const auto now = steady_clock::now();
  waiting_.add(now + delay, now);
  warn_of_waiting_events(group);
}

void GroupWatch::warn_of_waiting_events(const Group& group) {
  const auto now = steady_clock::now();
  if (waiting_.crowd_out(num_ack_pending_, group.max_ack_pending, gauges_.in_flight, now))
    spdlog::warn(
        "group={}: {} events wait here for a retry or behind one, of {} that the group may have open "
        "(max_ack_pending): when all of these are, no other event is handed out",
        group.durable, waiting_.count(now), group.max_ack_pending);
}

}  // namespace tidings
