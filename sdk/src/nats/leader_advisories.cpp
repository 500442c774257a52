#include "nats/leader_advisories.hpp"

#include "nats/handle.hpp"

#include <mutex>
#include <utility>

namespace tidings {
namespace {

std::string subject_of(const std::string& stream, const std::string& durable) {
  return durable.empty() ? "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + stream
                         : "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED." + stream + "." + durable;
}

}  // namespace

/// Shared with the subscription, whose callback may still run when its owner is gone.
struct LeaderAdvisories::State {
  explicit State(std::function<void()> action) : on_elected(std::move(action)) {}

  std::mutex mutex;
  std::function<void()> on_elected;

  static void deliver(natsConnection*, natsSubscription*, natsMsg* raw, void* closure) {
    auto& state = *static_cast<State*>(closure);
    const MessagePtr advisory{raw};
    const std::lock_guard lock{state.mutex};
    if (state.on_elected) state.on_elected();
  }
};

LeaderAdvisories::LeaderAdvisories(Connection& connection, const std::string& stream,
                                   const std::string& durable, std::function<void()> on_elected)
    : state_(std::make_shared<State>(std::move(on_elected))),
      subscription_(connection, subject_of(stream, durable), State::deliver, state_) {}

LeaderAdvisories::~LeaderAdvisories() {
  const std::lock_guard lock{state_->mutex};
  state_->on_elected = nullptr;
}

}  // namespace tidings
