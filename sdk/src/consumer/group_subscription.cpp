#include "consumer/group_subscription.hpp"

#include "consumer/mailbox.hpp"
#include "nats/native.hpp"

#include <algorithm>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

GroupSubscription::GroupSubscription(Connection& connection, const Group& group,
                                     const std::shared_ptr<Mailbox>& mailbox)
    : connection_(connection) {
  if (group.push()) {
    check(natsConnection_QueueSubscribe(&messages_, native(connection_), group.deliver_subject.c_str(),
                                        group.deliver_group.c_str(), Mailbox::deliver, mailbox.get()),
          "join the deliver group " + group.deliver_group);
  } else {
    inbox_ = listen(Mailbox::deliver, &messages_, *mailbox);
    advisories_.emplace(connection_, group.stream, group.durable,
                        [mailbox] { mailbox->tell_of_new_leader(); });
  }
  state_inbox_ = listen(Mailbox::deliver_state, &states_, *mailbox);
  // The prefetch is the bound; nats.c's own would drop messages.
  natsSubscription_SetPendingLimits(messages_, -1, -1);
  // A message that races the subscription's end must still find it and the mailbox.
  for (auto* subscription : {messages_, states_})
    connection_.keep(std::shared_ptr<void>(subscription, [mailbox](void* held) {
      natsSubscription_Destroy(static_cast<natsSubscription*>(held));
    }));
}

GroupSubscription::~GroupSubscription() {
  natsSubscription_Unsubscribe(messages_);
  natsSubscription_Unsubscribe(states_);
}

/// Returns the subject, which is ours alone.
std::string GroupSubscription::listen(natsMsgHandler handler, natsSubscription** subscription,
                                      Mailbox& mailbox) {
  auto subject = connection_.new_inbox();
  check(natsConnection_Subscribe(subscription, native(connection_), subject.c_str(), handler, &mailbox),
        "subscribe to the inbox " + subject);
  return subject;
}

void GroupSubscription::drain(const Group& group, steady_clock::time_point deadline) {
  const auto left = [deadline] {
    return std::max<int64_t>(1, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count());
  };
  // Draining tells the server to send no more, and still delivers what is on its way; a bare
  // unsubscribe would drop that, and it would be missing for a whole AckWait.
  if (natsSubscription_DrainTimeout(messages_, left()) == NATS_OK)
    natsSubscription_WaitForDrainCompletion(messages_, left());
  if (group.push()) return;
  // Our pull requests are still queued on the server. Until 2.10.27 (seen in 2.9.10 to 2.10.0) a message that
  // is given back to such a queue is taken for the dead request and forgotten for a whole AckWait; asking for
  // the consumer's state makes the server drop requests that nobody listens for.
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = left();
  jsConsumerInfo* info = nullptr;
  js_GetConsumerInfo(&info, jetstream(connection_), group.stream.c_str(), group.durable.c_str(), &options,
                     nullptr);
  jsConsumerInfo_Destroy(info);
}

}  // namespace tidings
