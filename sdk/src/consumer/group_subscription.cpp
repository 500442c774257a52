#include "consumer/group_subscription.hpp"

#include "consumer/mailbox.hpp"
#include "nats/native.hpp"

#include <algorithm>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

GroupSubscription::GroupSubscription(Connection& connection, const Group& group,
                                     const std::shared_ptr<Mailbox>& mailbox)
    : connection_(connection), stream_(group.stream), durable_(group.durable), push_(group.push()) {
  if (push_) {
    check(natsConnection_QueueSubscribe(&messages_.subscription, native(connection_),
                                        group.deliver_subject.c_str(), group.deliver_group.c_str(),
                                        Mailbox::deliver, mailbox.get()),
          "join the deliver group " + group.deliver_group);
  } else {
    messages_ = listen(Mailbox::deliver, *mailbox);
    advisories_.emplace(connection_, stream_, durable_, [mailbox] { mailbox->tell_of_new_leader(); });
  }
  states_ = listen(Mailbox::deliver_state, *mailbox);
  // The prefetch is the bound; nats.c's own would drop messages.
  natsSubscription_SetPendingLimits(messages_.subscription, -1, -1);
  // A message that races the subscription's end must still find it and the mailbox.
  for (auto* subscription : {messages_.subscription, states_.subscription})
    connection_.keep(std::shared_ptr<void>(subscription, [mailbox](void* held) {
      natsSubscription_Destroy(static_cast<natsSubscription*>(held));
    }));
}

GroupSubscription::~GroupSubscription() {
  natsSubscription_Unsubscribe(messages_.subscription);
  natsSubscription_Unsubscribe(states_.subscription);
}

GroupSubscription::Inbox GroupSubscription::listen(natsMsgHandler handler, Mailbox& mailbox) {
  Inbox inbox{.subject = connection_.new_inbox()};
  check(natsConnection_Subscribe(&inbox.subscription, native(connection_), inbox.subject.c_str(), handler,
                                 &mailbox),
        "subscribe to the inbox " + inbox.subject);
  return inbox;
}

bool GroupSubscription::ask(const char* what, const Inbox& answers, const std::string& body) {
  const auto subject = std::string("$JS.API.CONSUMER.") + what + "." + stream_ + "." + durable_;
  return natsConnection_PublishRequest(native(connection_), subject.c_str(), answers.subject.c_str(),
                                       body.data(), static_cast<int>(body.size())) == NATS_OK;
}

void GroupSubscription::drain(steady_clock::time_point deadline) {
  const auto left = [deadline] {
    return std::max<int64_t>(1, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count());
  };
  // Draining tells the server to send no more, and still delivers what is on its way; a bare
  // unsubscribe would drop that, and it would be missing for a whole AckWait.
  if (natsSubscription_DrainTimeout(messages_.subscription, left()) == NATS_OK)
    natsSubscription_WaitForDrainCompletion(messages_.subscription, left());
  if (push_) return;
  // Our pull requests are still queued on the server. Until 2.10.27 (seen in 2.9.10 to 2.10.0) a message that
  // is given back to such a queue is taken for the dead request and forgotten for a whole AckWait; asking for
  // the consumer's state makes the server drop requests that nobody listens for.
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = left();
  jsConsumerInfo* info = nullptr;
  js_GetConsumerInfo(&info, jetstream(connection_), stream_.c_str(), durable_.c_str(), &options, nullptr);
  jsConsumerInfo_Destroy(info);
}

}  // namespace tidings
