#pragma once

// Answers what is published as a stream's leader would that is in a state which a real one is hard to bring
// into.

#include "nats/handle.hpp"
#include "support/catch.hpp"
#include "support/wait.hpp"

#include <tidings/connection.hpp>

#include <atomic>
#include <memory>
#include <string>

namespace tidings::test {

/// From its construction to its end, each message to `subjects` gets the same answer. No stream may hold
/// them.
class ImitatedLeader {
 public:
  ImitatedLeader(const std::string& url, const std::string& subjects, std::string answer)
      : answer_(std::move(answer)), connection_(ConnectionOptions{.urls = {url}}) {
    REQUIRE(natsConnection_Subscribe(&subscription_, native(connection_), subjects.c_str(), reply, this) ==
            NATS_OK);
    connection_.keep(std::shared_ptr<void>(
        subscription_, [](void* held) { natsSubscription_Destroy(static_cast<natsSubscription*>(held)); }));
    REQUIRE(connection_.flush(5s));
  }
  ~ImitatedLeader() { natsSubscription_Unsubscribe(subscription_); }
  ImitatedLeader(const ImitatedLeader&) = delete;
  ImitatedLeader& operator=(const ImitatedLeader&) = delete;

  [[nodiscard]] int asked() const noexcept { return asked_; }

 private:
  static void reply(natsConnection* connection, natsSubscription*, natsMsg* raw, void* closure) {
    const MessagePtr message{raw};
    auto& leader = *static_cast<ImitatedLeader*>(closure);
    natsConnection_PublishString(connection, natsMsg_GetReply(raw), leader.answer_.c_str());
    natsConnection_Flush(connection);
    ++leader.asked_;
  }

  const std::string answer_;
  std::atomic<int> asked_{0};
  Connection connection_;
  natsSubscription* subscription_ = nullptr;
};

}  // namespace tidings::test
