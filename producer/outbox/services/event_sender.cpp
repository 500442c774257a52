#include "services/event_sender.hpp"

#include <array>
#include <utility>

namespace tidings {

using Kind = PublishResult::Kind;

namespace {

constexpr const char* batch_id_header = "Nats-Batch-Id";
constexpr const char* batch_sequence_header = "Nats-Batch-Sequence";
constexpr const char* batch_commit_header = "Nats-Batch-Commit";
constexpr std::array batch_headers{batch_id_header, batch_sequence_header, batch_commit_header};

}  // namespace

/// Returns why it could not be sent.
std::optional<PublishResult> EventSender::send(const OutboxEvent& row, const char* answer_to,
                                               const BatchPlace* place) {
  const auto failed = [](Kind kind, std::string why) {
    return PublishResult{.kind = kind, .error = std::move(why)};
  };
  try {
    const auto subject = options_.subject_of(row);
    encode(builder_.build(row), wire_);
    natsMsg* raw = nullptr;
    check(natsMsg_Create(&raw, subject.c_str(), answer_to, wire_.payload.data(),
                         static_cast<int>(wire_.payload.size())),
          "make a message");
    MessagePtr message{raw};
    set_headers(raw, place);
    const auto status = natsConnection_PublishMsg(native(connection_), raw);
    discard(std::move(message), place);
    if (status == NATS_OK) return std::nullopt;
    if (status == NATS_MAX_PAYLOAD)
      return failed(Kind::refused, "larger than the server takes (max_payload " +
                                       std::to_string(connection_.max_payload()) + " bytes)");
    // NATS_INSUFFICIENT_BUFFER tells of nats.c's buffer for a reconnect, which we turn off.
    return failed(Kind::transient,
                  status == NATS_INSUFFICIENT_BUFFER ? "not connected" : natsStatus_GetText(status));
  } catch (const Undecodable& error) {
    return failed(Kind::refused, error.what());
  }
}

void EventSender::set_headers(natsMsg* message, const BatchPlace* place) const {
  const auto set = [message](const char* name, const std::string& value) {
    check(natsMsgHeader_Set(message, name, value.c_str()), "set a header of a message");
  };
  for (const auto& [name, value] : wire_.headers) set(name.c_str(), value);
  if (place == nullptr) return;
  set(batch_id_header, place->id);
  set(batch_sequence_header, std::to_string(place->sequence));
  if (place->last) set(batch_commit_header, "1");
}

/// The headers, some fifty allocations, are freed here. On nats.c's own thread for that, which contends
/// with this one for the allocator, freeing them was half of the cost of publishing.
void EventSender::discard(MessagePtr message, const BatchPlace* place) {
  for (const auto& [name, value] : wire_.headers) natsMsgHeader_Delete(message.get(), name.c_str());
  if (place != nullptr)
    for (const auto* name : batch_headers) natsMsgHeader_Delete(message.get(), name);
  sent_.add(std::move(message));
}

}  // namespace tidings
