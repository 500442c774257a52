#pragma once

// What an instance says to its group and hears from it: asks for messages and for the group's state, and has
// both come in, with news of the durable's leader, until it leaves.

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

  // The answers go to the mailbox, nobody waits for them. False when the request was not sent.
  bool ask_for_messages(const std::string& body) { return ask("MSG.NEXT", messages_, body); }
  bool ask_for_state() { return ask("INFO", states_, ""); }

  /// Has the server send no more; what is on its way still comes.
  void drain(std::chrono::steady_clock::time_point deadline);

 private:
  struct Inbox {
    std::string subject;
    natsSubscription* subscription = nullptr;  // kept by the connection until it is closed
  };

  [[nodiscard]] Inbox listen(natsMsgHandler handler, Mailbox& mailbox);
  bool ask(const char* what, const Inbox& answers, const std::string& body);

  Connection& connection_;
  const std::string stream_, durable_;
  const bool push_;
  Inbox messages_;  // without a subject when the group is a push consumer
  Inbox states_;
  std::optional<LeaderAdvisories> advisories_;
};

}  // namespace tidings
