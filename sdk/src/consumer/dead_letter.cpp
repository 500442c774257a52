#include "consumer/dead_letter.hpp"

#include "event/valid_utf8.hpp"
#include "nats/handle.hpp"
#include "nats/subject.hpp"

#include <tidings/stream.hpp>
#include <tidings/timestamp.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds long_silence{500};  // a real error arrives sooner than this
constexpr milliseconds longest_pause{30000};

// JetStream stores their length in 16 bits. Its error for more is not among those of nats.c 3.4.
constexpr std::size_t most_header_bytes = 65535;
constexpr int headers_too_large = 10097;
// Room for headers that are added later: what was left out, the message's id, the stream that is expected.
constexpr std::size_t reserve = 2048;
constexpr std::size_t shortest_text = 100;

/// One line of valid header text, cut at a character's end.
std::string header_text(std::string text, std::size_t longest) {
  std::replace_if(
      text.begin(), text.end(), [](char letter) { return static_cast<unsigned char>(letter) < ' '; }, ' ');
  cut_utf8(text, longest);
  return text.empty() ? "unknown" : text;
}

bool fits_into_subject(std::string_view type) { return type.size() < 200 && is_literal_subject(type); }

/// nats.c tells names apart by case, so this replaces only a header of exactly the same name.
void set_header(natsMsg* message, const std::string& name, const std::string& value) {
  check(natsMsgHeader_Set(message, name.c_str(), value.c_str()), "set the header " + name);
}

using Header = Headers::value_type;

/// On the wire, with ": " and a line's end.
std::size_t size(const Header& header) { return header.first.size() + header.second.size() + 4; }

std::size_t size(const Headers& headers) {
  std::size_t bytes = 0;
  for (const auto& header : headers) bytes += size(header);
  return bytes;
}

/// Nats-* headers addressed the original stream (message id, expected last message): not copied.
bool is_copied(const Header& header) {
  const auto& [name, value] = header;
  return !name.starts_with("Nats-") && !name.starts_with("nats-") && !value.empty();
}

/// Which headers fit into `room` bytes when the largest are left out first.
std::vector<bool> fitting(const Headers& headers, std::size_t room) {
  std::vector<std::size_t> by_size;
  std::vector<bool> fits(headers.size(), false);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (!is_copied(headers[i])) continue;
    fits[i] = true;
    bytes += size(headers[i]);
    by_size.push_back(i);
  }
  std::ranges::sort(by_size, std::ranges::greater{}, [&](std::size_t i) { return size(headers[i]); });
  for (auto largest = by_size.begin(); largest != by_size.end() && bytes > room; ++largest) {
    fits[*largest] = false;
    bytes -= size(headers[*largest]);
  }
  return fits;
}

/// Returns the names of those that do not fit, or that nats.c does not take.
std::string copy_headers(natsMsg* message, const Headers& headers, std::size_t room) {
  const auto fits = fitting(headers, room);
  std::string left_out;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const auto& [name, value] = headers[i];
    if (!is_copied(headers[i])) continue;
    if (fits[i] && natsMsgHeader_Add(message, name.c_str(), value.c_str()) == NATS_OK) continue;
    left_out += (left_out.empty() ? "" : ", ") + name;
  }
  return left_out;
}

}  // namespace

void DeadLetters::ensure() {
  ensure_stream(connection_, {.name = options_.dead_letter_stream,
                              .subjects = {options_.dead_letter_prefix + ".>"},
                              .replicas = options_.replicas});
}

void DeadLetters::publish(const Delivery& delivery, std::string_view payload, const Settlement& settlement) {
  const auto begun = Clock::now();
  Room room;
  jsErrCode code{};
  natsStatus status{};
  bool headers_alone = false;
  do {
    status = send(copy(delivery, settlement, payload, room).get(), delivery, &code);
    headers_alone = static_cast<int>(code) == headers_too_large;
  } while ((status == NATS_MAX_PAYLOAD || code == JSStreamMessageExceedsMaximumErr || headers_alone) &&
           room.shrink(payload.empty(), headers_alone, connection_.max_payload()));
  if (status == NATS_OK) {
    next_pause_ = first_pause;
  } else if (Clock::now() - begun >= long_silence) {
    paused_until_ = Clock::now() + next_pause_;
    next_pause_ = std::min(next_pause_ * 2, longest_pause);
  }
  check(status, "publish to the dead-letter stream " + options_.dead_letter_stream, code);
}

bool DeadLetters::Room::shrink(bool payload_is_empty, bool headers_alone, std::int64_t max_payload) {
  if (payload && !payload_is_empty && !headers_alone) {
    payload = false;
  } else if (headers > most_header_bytes) {
    headers = std::min(most_header_bytes, static_cast<std::size_t>(max_payload));
  } else if (headers > 0) {
    headers = headers < reserve ? 0 : headers / 2;
  } else {
    return std::exchange(text, shortest_text) > shortest_text;
  }
  return true;
}

MessagePtr DeadLetters::copy(const Delivery& delivery, const Settlement& settlement, std::string_view payload,
                             const Room& room) const {
  const auto& type = delivery.event.type;
  const auto subject = options_.dead_letter_prefix + "." + options_.group + "." +
                       (fits_into_subject(type) ? type : std::string{"unknown"});
  const auto size_left_out = room.payload ? 0 : payload.size();
  if (!room.payload) payload = {};
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, subject.c_str(), nullptr, payload.data(), static_cast<int>(payload.size())),
        "make a dead letter");
  MessagePtr message{raw};
  const auto own = own_headers(delivery, settlement, room);
  const auto taken = size(own) + reserve;
  const auto left_out = copy_headers(raw, delivery.headers, room.headers - std::min(room.headers, taken));
  for (const auto& [name, value] : own) set_header(raw, name, value);
  if (size_left_out > 0) set_header(raw, "tidings-payload-left-out", std::to_string(size_left_out));
  if (!left_out.empty()) set_header(raw, "tidings-headers-left-out", header_text(left_out, room.text));
  return message;
}

Headers DeadLetters::own_headers(const Delivery& delivery, const Settlement& settlement,
                                 const Room& room) const {
  Headers headers{{"tidings-reason", header_text(settlement.reason, room.text)},
                  {"tidings-attempts", std::to_string(settlement.attempts)},
                  {"tidings-original-subject", delivery.subject},
                  {"tidings-original-stream", delivery.stream},
                  {"tidings-original-sequence", std::to_string(delivery.stream_sequence)},
                  {"tidings-group", options_.group},
                  {"tidings-failed-at", to_iso8601(now())}};
  // The message id of the original is not copied, and may have been the event's only one.
  if (!delivery.event.id.empty())
    headers.emplace_back("tidings-original-id", header_text(delivery.event.id, room.text));
  return headers;
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
  // A leader that cannot tell yet whether the dead letter is stored: see read_pub_ack().
  if (status == NATS_OK && answer->Duplicate && answer->Sequence == 0) return NATS_TIMEOUT;
  return status;
}

milliseconds DeadLetters::pause_left() const {
  return std::max(std::chrono::ceil<milliseconds>(paused_until_ - Clock::now()), milliseconds{0});
}

}  // namespace tidings
