#pragma once

// A subscription with a handler, on a connection that may go on for long after it.

#include <tidings/connection.hpp>

#include <nats/nats.h>

#include <memory>
#include <string>

namespace tidings {

class Subscription {
 public:
  /// `handler` is called on a thread of nats.c's, with `closure`, which lives until it has returned for the
  /// last time: that may be after the end of this object. Throws NatsError.
  Subscription(Connection& connection, const std::string& subject, natsMsgHandler handler,
               std::shared_ptr<void> closure, const std::string& queue_group = {});
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  [[nodiscard]] natsSubscription* get() const noexcept { return handle_.get(); }

 private:
  Connection& connection_;
  std::shared_ptr<natsSubscription> handle_;
};

}  // namespace tidings
