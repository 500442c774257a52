#include "consumer/mailbox.hpp"

#include <string_view>
#include <utility>

namespace tidings {
namespace {

bool is_delivery(natsMsg* message) {
  const char* reply = natsMsg_GetReply(message);
  return reply != nullptr && std::string_view{reply}.starts_with("$JS.ACK.");
}

}  // namespace

Mailbox::Mailbox(natsConnection* its_connection, std::chrono::milliseconds ack_wait, std::string prefix,
                 std::atomic<std::uint64_t>& in_flight, InFlight::MayExtend may_extend)
    : connection(its_connection),
      subject_prefix(std::move(prefix)),
      at_hand(its_connection, ack_wait, in_flight, std::move(may_extend)) {}

/// Decodes outside of the lock, beside the handlers.
void Mailbox::deliver(natsConnection*, natsSubscription*, natsMsg* raw, void* closure) {
  auto& mailbox = *static_cast<Mailbox*>(closure);
  MessagePtr message{raw};
  if (!is_delivery(raw)) return mailbox.put(mailbox.notices, std::move(message));
  if (mailbox.own_spare.empty())
    mailbox.own_spare.push_back(std::make_unique<StreamMessage>(mailbox.connection, mailbox.at_hand));
  auto received = std::move(mailbox.own_spare.back());
  mailbox.own_spare.pop_back();
  received->read(std::move(message), mailbox.subject_prefix);
  const std::lock_guard lock{mailbox.mutex};
  mailbox.messages.push_back(std::move(received));
  if (mailbox.own_spare.empty()) mailbox.own_spare.swap(mailbox.spare);
  mailbox.arrived.notify_one();
}

void Mailbox::answer(natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
  auto& mailbox = *static_cast<Mailbox*>(closure);
  mailbox.put(mailbox.states, MessagePtr{message});
}

void Mailbox::put(std::vector<MessagePtr>& place, MessagePtr message) {
  const std::lock_guard lock{mutex};
  place.push_back(std::move(message));
  arrived.notify_one();
}

void Mailbox::tell_of_new_leader() {
  const std::lock_guard lock{mutex};
  new_leader = true;
  arrived.notify_one();
}

void Mailbox::wake() {
  const std::lock_guard lock{mutex};
  woken = true;
  arrived.notify_one();
}

bool Mailbox::empty() {
  const std::lock_guard lock{mutex};
  return messages.empty() && notices.empty();
}

}  // namespace tidings
