#include "consumer/stream_message.hpp"

#include "event/redrive_headers.hpp"
#include "nats/message_headers.hpp"

#include <algorithm>
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
  if (message_) in_flight_.remove(slot_);
}

void StreamMessage::read(MessagePtr message, std::string_view subject_prefix) {
  message_ = std::move(message);
  arrived = std::chrono::steady_clock::now();
  const auto ack = AckSubject::parse(natsMsg_GetReply(message_.get())).value_or(AckSubject{});
  slot_ = in_flight_.add(message_.get(), ack);
  pending = ack.pending;
  consumer_sequence = ack.consumer_sequence;
  delivery.subject = natsMsg_GetSubject(message_.get());
  read_headers(message_.get(), delivery.headers);
  delivery.stream = ack.stream;
  delivery.stream_sequence = ack.stream_sequence;
  delivery.delivered = std::max<std::uint64_t>(ack.delivered, 1);
  delivery.attempt = 0;
  delivery.stored_at = Timestamp{std::chrono::duration_cast<milliseconds>(nanoseconds{ack.stored_at_ns})};
  for_group = header(delivery.headers, redrive_headers::for_group);
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

std::string_view StreamMessage::payload() const noexcept {
  return {natsMsg_GetData(message_.get()), static_cast<std::size_t>(natsMsg_GetDataLength(message_.get()))};
}

MessagePtr StreamMessage::settle(Acknowledgement acknowledgement) && {
  if (in_flight_.remove(slot_)) send(connection_, message_.get(), acknowledgement);
  return std::move(message_);
}

}  // namespace tidings
