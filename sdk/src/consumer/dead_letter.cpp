#include "consumer/dead_letter.hpp"

#include "event/valid_utf8.hpp"
#include "nats/handle.hpp"
#include "nats/subject.hpp"

#include <tidings/stream.hpp>
#include <tidings/timestamp.hpp>

#include <algorithm>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t longest_reason = 1000;
constexpr milliseconds long_silence{500};  // a real error arrives sooner than this
constexpr milliseconds longest_pause{30000};

/// One line of valid header text, cut at a character's end.
std::string header_text(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char letter) { return static_cast<unsigned char>(letter) < ' '; }, ' ');
  cut_utf8(text, longest_reason);
  return text.empty() ? "unknown" : text;
}

bool fits_into_subject(std::string_view type) { return type.size() < 200 && is_literal_subject(type); }

/// nats.c tells names apart by case, so this replaces only a header of exactly the same name.
void set_header(natsMsg* message, const char* name, const std::string& value) {
  check(natsMsgHeader_Set(message, name, value.c_str()), std::string("set the header ") + name);
}

void copy_headers(natsMsg* message, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    // Nats-* headers addressed the original stream (message id, expected last message): not copied.
    const bool for_the_stream = name.starts_with("Nats-") || name.starts_with("nats-");
    if (!for_the_stream && !value.empty())
      check(natsMsgHeader_Add(message, name.c_str(), value.c_str()), "copy the header " + name);
  }
}

}  // namespace

void DeadLetters::ensure() {
  ensure_stream(connection_, {.name = options_.dead_letter_stream,
                              .subjects = {options_.dead_letter_prefix + ".>"},
                              .replicas = options_.replicas});
}

void DeadLetters::publish(const Delivery& delivery, std::string_view payload, const Settlement& settlement) {
  const auto begun = Clock::now();
  auto letter = copy(delivery, settlement, payload);
  jsErrCode code{};
  auto status = send(letter.get(), delivery, &code);
  const bool too_large = status == NATS_MAX_PAYLOAD || code == JSStreamMessageExceedsMaximumErr;
  if (too_large && !payload.empty()) {
    letter = copy(delivery, settlement, {});
    set_header(letter.get(), "tidings-payload-left-out", std::to_string(payload.size()));
    status = send(letter.get(), delivery, &code);
  }
  if (status == NATS_OK) {
    next_pause_ = first_pause;
  } else if (Clock::now() - begun >= long_silence) {
    paused_until_ = Clock::now() + next_pause_;
    next_pause_ = std::min(next_pause_ * 2, longest_pause);
  }
  check(status, "publish to the dead-letter stream " + options_.dead_letter_stream, code);
}

MessagePtr DeadLetters::copy(const Delivery& delivery, const Settlement& settlement,
                             std::string_view payload) const {
  const auto& type = delivery.event.type;
  const auto subject = options_.dead_letter_prefix + "." + options_.group + "." +
                       (fits_into_subject(type) ? type : std::string{"unknown"});
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, subject.c_str(), nullptr, payload.data(), static_cast<int>(payload.size())),
        "make a dead letter");
  MessagePtr message{raw};
  copy_headers(raw, delivery.headers);
  set_header(raw, "tidings-reason", header_text(settlement.reason));
  set_header(raw, "tidings-attempts", std::to_string(settlement.attempts));
  set_header(raw, "tidings-original-subject", delivery.subject);
  set_header(raw, "tidings-original-stream", delivery.stream);
  set_header(raw, "tidings-original-sequence", std::to_string(delivery.stream_sequence));
  set_header(raw, "tidings-group", options_.group);
  set_header(raw, "tidings-failed-at", to_iso8601(now()));
  // The message id of the original is not copied, and may have been the event's only one.
  if (!delivery.event.id.empty()) set_header(raw, "tidings-original-id", header_text(delivery.event.id));
  return message;
}

natsStatus DeadLetters::send(natsMsg* letter, const Delivery& delivery, jsErrCode* code) const {
  // A stream that is deleted and created again starts with the same sequences: the time tells them apart.
  const auto id = delivery.stream + ":" + options_.group + ":" + std::to_string(delivery.stream_sequence) +
                  ":" + std::to_string(delivery.stored_at.time_since_epoch().count());
  jsPubOptions publish_options;
  jsPubOptions_Init(&publish_options);
  publish_options.MsgId = id.c_str();
  publish_options.ExpectStream = options_.dead_letter_stream.c_str();
  *code = {};
  jsPubAck* raw_answer = nullptr;
  const auto status = js_PublishMsg(&raw_answer, jetstream(connection_), letter, &publish_options, code);
  const PubAckPtr answer{raw_answer};
  // A leader that cannot yet tell whether the dead letter is stored: see EventPublisher.
  if (status == NATS_OK && answer->Duplicate && answer->Sequence == 0) return NATS_TIMEOUT;
  return status;
}

milliseconds DeadLetters::pause_left() const {
  return std::max(std::chrono::ceil<milliseconds>(paused_until_ - Clock::now()), milliseconds{0});
}

}  // namespace tidings
