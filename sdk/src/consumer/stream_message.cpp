#include "consumer/stream_message.hpp"

#include "nats/acknowledgement.hpp"
#include "nats/message_headers.hpp"

#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

std::string_view type_in_subject(std::string_view subject, std::string_view prefix) {
  if (subject.size() <= prefix.size() + 1 || !subject.starts_with(prefix)) return {};
  return subject.substr(prefix.size() + 1);
}

}  // namespace

StreamMessage::~StreamMessage() {
  if (message_) in_flight_->remove(slot_);
}

void StreamMessage::read(MessagePtr message, std::string_view subject_prefix) {
  message_ = std::move(message);
  const auto ack = AckSubject::parse(natsMsg_GetReply(message_.get()));
  describe(ack);
  slot_ = in_flight_->add(message_.get(), ack);
  const auto type = type_in_subject(delivery.subject, subject_prefix);
  try {
    decode(delivery.headers, payload(), type, delivery.event);
    undecodable.clear();
  } catch (const Undecodable& error) {
    delivery.event = {};
    delivery.event.type = type;
    undecodable = error.what();
  }
}

/// Fills in what is known about the message before its event is decoded.
void StreamMessage::describe(const std::optional<AckSubject>& ack) {
  delivery.attempt = 0;
  delivery.subject = natsMsg_GetSubject(message_.get());
  read_headers(message_.get(), delivery.headers);
  delivery.stream = ack ? ack->stream : "";
  delivery.stream_sequence = ack ? ack->stream_sequence : 0;
  delivery.delivered = ack ? ack->delivered : 1;
  delivery.stored_at =
      Timestamp{std::chrono::duration_cast<milliseconds>(nanoseconds{ack ? ack->stored_at_ns : 0})};
  pending = ack ? ack->pending : 0;
  consumer_sequence = ack ? ack->consumer_sequence : 0;
  arrived = std::chrono::steady_clock::now();
}

std::string_view StreamMessage::payload() const noexcept {
  return {natsMsg_GetData(message_.get()), static_cast<std::size_t>(natsMsg_GetDataLength(message_.get()))};
}

MessagePtr StreamMessage::nak(milliseconds delay) && {
  if (delay.count() <= 0) return settle("-NAK");
  return settle("-NAK {\"delay\": " + std::to_string(nanoseconds{delay}.count()) + "}");
}

MessagePtr StreamMessage::settle(const std::string& verb) {
  if (!in_flight_->remove(slot_)) return std::move(message_);
  // When this is lost with the connection, the message comes back and the inbox knows it: no error here.
  natsConnection_Publish(connection_, natsMsg_GetReply(message_.get()), verb.data(),
                         static_cast<int>(verb.size()));
  return std::move(message_);
}

}  // namespace tidings
