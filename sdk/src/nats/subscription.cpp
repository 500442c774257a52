#include "nats/subscription.hpp"

#include "nats/handle.hpp"

#include <utility>

namespace tidings {
namespace {

using Closure = std::shared_ptr<void>;

/// The handler has returned for the last time.
void on_complete(void* last) { const std::unique_ptr<Closure> ended{static_cast<Closure*>(last)}; }

}  // namespace

Subscription::Subscription(Connection& connection, const std::string& subject, natsMsgHandler handler,
                           std::shared_ptr<void> closure, const std::string& queue_group)
    : connection_(connection) {
  natsSubscription* raw = nullptr;
  check(queue_group.empty()
            ? natsConnection_Subscribe(&raw, native(connection), subject.c_str(), handler, closure.get())
            : natsConnection_QueueSubscribe(&raw, native(connection), subject.c_str(), queue_group.c_str(),
                                            handler, closure.get()),
        "subscribe to " + subject);
  auto last = std::make_unique<Closure>(closure);
  // When the connection was closed meanwhile, the handle keeps the closure.
  if (natsSubscription_SetOnCompleteCB(raw, on_complete, last.get()) == NATS_OK) (void)last.release();
  handle_ = {raw,
             [closure = std::move(closure)](natsSubscription* ended) { natsSubscription_Destroy(ended); }};
}

Subscription::~Subscription() {
  natsSubscription_Unsubscribe(get());
  destroy_later(connection_, std::move(handle_));
}

}  // namespace tidings
