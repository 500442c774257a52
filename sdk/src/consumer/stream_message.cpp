#include "consumer/stream_message.hpp"

#include "event/attributes.hpp"
#include "event/redrive_headers.hpp"
#include "nats/message_headers.hpp"
#include "nats/partition.hpp"
#include "nats/subject.hpp"

#include <algorithm>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

std::string_view type_in_subject(std::string_view subject, std::string_view prefix) {
  if (subject.size() <= prefix.size() + 1 || !subject.starts_with(prefix)) return {};
  const auto type = subject.substr(prefix.size() + 1);
  auto behind_token = type;
  return Partition::parse(take_token(behind_token)) && !behind_token.empty() ? behind_token : type;
}

// A recycled object keeps its memory. Many of them with that of the largest message each has ever held would
// be many times what prefetch_bytes allows.
constexpr std::size_t most_memory_kept = 8192;

std::size_t memory(const Delivery& delivery) {
  const auto& event = delivery.event;
  std::size_t bytes = delivery.headers.capacity() * sizeof(Headers::value_type);
  for (const auto& [name, value] : delivery.headers) bytes += name.capacity() + value.capacity();
  for (const auto* text : {&event.id, &event.type, &event.source, &event.aggregate_id, &event.aggregate_type,
                           &event.time, &event.partition_key, &event.traceparent, &event.tracestate,
                           &event.data, &event.metadata, &delivery.subject})
    bytes += text->capacity();
  return bytes;
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
  retried_here = false;
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
    decode(delivery.headers, payload(),
           {.type = type,
            .stream = ack.stream,
            .sequence = ack.stream_sequence,
            .stored_at_ns = ack.stored_at_ns},
           delivery.event);
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
  // Moved away: an assignment of something empty would leave the texts' memory where it is.
  if (memory(delivery) > most_memory_kept) const auto freed = std::move(delivery);
  if (undecodable.capacity() > most_memory_kept) const auto freed = std::move(undecodable);
  return std::move(message_);
}

}  // namespace tidings
