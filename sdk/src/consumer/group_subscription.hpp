#pragma once

// The subscriptions of an instance, and how it leaves them: where the group's messages come in, where the
// server tells the group's state, and news of the durable's leader.

#include "consumer/group.hpp"
#include "nats/handle.hpp"
#include "nats/leader_advisories.hpp"

#include <tidings/connection.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace tidings {

class Mailbox;

class GroupSubscription {
 public:
  /// All that comes goes to the mailbox, which lives as long as the connection.
  GroupSubscription(Connection& connection, const Group& group, const std::shared_ptr<Mailbox>& mailbox);
  ~GroupSubscription();
  GroupSubscription(const GroupSubscription&) = delete;
  GroupSubscription& operator=(const GroupSubscription&) = delete;

  /// Where pulled messages come to; empty for a push consumer.
  [[nodiscard]] const std::string& inbox() const noexcept { return inbox_; }
  [[nodiscard]] const std::string& state_inbox() const noexcept { return state_inbox_; }

  /// Has the server send no more; what is on its way still comes.
  void drain(const Group& group, std::chrono::steady_clock::time_point deadline);

 private:
  [[nodiscard]] std::string listen(natsMsgHandler handler, natsSubscription** subscription, Mailbox& mailbox);

  Connection& connection_;
  natsSubscription* messages_ = nullptr;  // both kept by the connection until it is closed
  natsSubscription* states_ = nullptr;
  std::optional<LeaderAdvisories> advisories_;
  std::string inbox_, state_inbox_;
};

}  // namespace tidings
