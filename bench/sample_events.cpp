#include "sample_events.hpp"

#include "figures.hpp"
#include "nats/handle.hpp"
#include "services/event_builder.hpp"
#include "user.hpp"

#include <tidings/connection.hpp>

#include <atomic>

namespace tidings::bench {

User some_user(int number) {
  return {.id = "user-" + std::to_string(number),
          .email = "user" + std::to_string(number) + "@example.org",
          .name = "Zoë Example",
          .created_at = now()};
}

std::vector<WireMessage> sample_messages(int count) {
  std::vector<WireMessage> messages;
  EventBuilder builder{"auth-service"};
  for (int i = 0; i < count; ++i) {
    const UserCreatedEvent event{some_user(i)};
    messages.push_back(encode(builder.build({.position = i,
                                             .id = event.id,
                                             .aggregate_id = event.aggregate_id,
                                             .aggregate_type = event.aggregate_type,
                                             .event_type = event.event_type,
                                             .event_data = event.event_data(),
                                             .occurred_at = event.occurred_at,
                                             .updated_at = event.occurred_at})));
  }
  return messages;
}

void purge(const std::string& url) {
  Connection connection{ConnectionOptions{.urls = {url}}};
  check(js_PurgeStream(jetstream(connection), "AUTH_EVENTS", nullptr, nullptr), "purge the stream");
}

double publish_raw(const std::string& url, const std::vector<WireMessage>& messages) {
  Connection connection{ConnectionOptions{.urls = {url}}};
  std::atomic<std::size_t> confirmed{0};
  jsOptions options;
  jsOptions_Init(&options);
  options.PublishAsync.MaxPending = 4096;
  options.PublishAsync.StallWait = 60000;
  options.PublishAsync.AckHandlerClosure = &confirmed;
  options.PublishAsync.AckHandler = [](jsCtx*, natsMsg* message, jsPubAck* ack, jsPubAckErr*, void* closure) {
    if (ack != nullptr) ++*static_cast<std::atomic<std::size_t>*>(closure);
    natsMsg_Destroy(message);
  };
  jsCtx* context = nullptr;
  check(natsConnection_JetStream(&context, native(connection), &options), "use JetStream");
  std::vector<std::string> subjects;
  for (const auto& message : messages)
    subjects.push_back("auth.events." + std::string{header(message.headers, "ce-type")});
  auto subject = subjects.begin();
  const double took = seconds([&] {
    for (const auto& [headers, payload] : messages) {
      natsMsg* message = nullptr;
      check(natsMsg_Create(&message, (subject++)->c_str(), nullptr, payload.data(),
                           static_cast<int>(payload.size())),
            "make a message");
      for (const auto& [name, value] : headers)
        check(natsMsgHeader_Set(message, name.c_str(), value.c_str()), "set a header");
      check(js_PublishMsgAsync(context, &message, nullptr), "publish");
    }
    jsPubOptions wait;
    jsPubOptions_Init(&wait);
    wait.MaxWait = 60000;
    check(js_PublishAsyncComplete(context, &wait), "wait for the acknowledgements");
  });
  jsCtx_Destroy(context);
  if (confirmed != messages.size())
    throw Error("raw publish: only " + std::to_string(confirmed) + " confirmed");
  return took;
}

}  // namespace tidings::bench
