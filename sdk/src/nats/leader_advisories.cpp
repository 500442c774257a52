#include "nats/leader_advisories.hpp"

#include "nats/handle.hpp"

#include <mutex>
#include <utility>

namespace tidings {

/// Shared with the subscription, whose callback may still run when its owner is gone.
struct LeaderAdvisories::State {
  std::mutex mutex;
  std::function<void()> on_elected;
  natsSubscription* subscription = nullptr;  // kept by the connection

  static void deliver(natsConnection*, natsSubscription*, natsMsg* raw, void* closure) {
    auto& state = *static_cast<State*>(closure);
    const MessagePtr advisory{raw};
    const std::lock_guard lock{state.mutex};
    if (state.on_elected) state.on_elected();
  }
};

LeaderAdvisories::LeaderAdvisories(Connection& connection, const std::string& stream,
                                   const std::string& durable, std::function<void()> on_elected)
    : state_(std::make_shared<State>()) {
  state_->on_elected = std::move(on_elected);
  const auto subject = durable.empty()
                           ? "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED." + stream
                           : "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED." + stream + "." + durable;
  check(natsConnection_Subscribe(&state_->subscription, native(connection), subject.c_str(), State::deliver,
                                 state_.get()),
        "subscribe to leader advisories");
  connection.keep(std::shared_ptr<void>(state_->subscription, [state = state_](void* held) {
    natsSubscription_Destroy(static_cast<natsSubscription*>(held));
  }));
}

LeaderAdvisories::~LeaderAdvisories() {
  natsSubscription_Unsubscribe(state_->subscription);
  const std::lock_guard lock{state_->mutex};
  state_->on_elected = nullptr;
}

}  // namespace tidings
