#include "dead_letter_stream.hpp"

#include "event/redrive_headers.hpp"
#include "nats/handle.hpp"
#include "nats/message_headers.hpp"
#include "nats/subject.hpp"
#include "stream_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

template <class Number>
Number number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : Number{};
}

bool is_structured(const DeadLetter& letter) {
  return header(letter.headers, "content-type").starts_with("application/cloudevents");
}

/// In exactly this case, as consumers write it: the event may have headers of its own that look alike.
std::string_view own_header(const Headers& headers, std::string_view name) {
  const auto found = std::ranges::find(headers, name, &Headers::value_type::first);
  return found != headers.end() ? std::string_view{found->second} : std::string_view{};
}

/// Headers are what a letter consists of; what cannot be read of the event stays empty.
void interpret(DeadLetter& letter) {
  const auto text = [&letter](std::string_view name) {
    return std::string{own_header(letter.headers, name)};
  };
  letter.group = text("tidings-group");
  letter.reason = text("tidings-reason");
  letter.failed_at = text("tidings-failed-at");
  letter.original_stream = text("tidings-original-stream");
  letter.original_subject = text("tidings-original-subject");
  letter.attempts = number<int>(own_header(letter.headers, "tidings-attempts"));
  letter.original_sequence = number<std::uint64_t>(own_header(letter.headers, "tidings-original-sequence"));
  const auto first = number<std::uint64_t>(own_header(letter.headers, redrive_headers::first_sequence));
  letter.first_sequence = first > 0 ? first : letter.original_sequence;
  try {
    decode(letter.headers, letter.data, {}, letter.event);
  } catch (const Undecodable&) {  // half written then
  }
  letter.event.data.clear();
  if (const auto id = text(redrive_headers::original_id); !id.empty()) letter.event.id = id;
  const auto group_token = "." + letter.group + ".";
  const auto type = letter.subject.find(group_token);
  if (letter.event.type.empty() && type != std::string::npos)
    letter.event.type = letter.subject.substr(type + group_token.size());
}

/// As read_headers(), but with all values of a name, of a message that JetStream has looked up.
Headers headers_of(natsMsg* message) {
  Headers headers;
  const char** names = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &names, &count) != NATS_OK) return headers;
  for (int i = 0; i < count; ++i) {
    const char** values = nullptr;
    int value_count = 0;
    if (natsMsgHeader_Values(message, names[i], &values, &value_count) != NATS_OK) continue;
    for (int j = 0; j < value_count; ++j)
      headers.emplace_back(names[i], values[j] != nullptr ? values[j] : "");
    std::free(static_cast<void*>(values));
  }
  std::free(static_cast<void*>(names));
  return headers;
}

}  // namespace

bool DeadLetterFilter::matches(const DeadLetter& letter) const {
  const auto& event = letter.event;
  return (group.empty() || letter.group == group) && (type.empty() || covers(type, event.type)) &&
         (aggregate.empty() || event.aggregate_id == aggregate ||
          event.aggregate_type + "/" + event.aggregate_id == aggregate) &&
         (reason.empty() || letter.reason.find(reason) != std::string::npos) &&
         (!since || letter.stored >= *since);
}

bool DeadLetterFilter::empty() const {
  return group.empty() && type.empty() && aggregate.empty() && reason.empty() && !since;
}

DeadLetterStream::DeadLetterStream(JetStreamApi& api, std::string stream)
    : api_(api), stream_(std::move(stream)) {
  try {
    const auto config = api_.request("STREAM.INFO." + stream_).at("config");
    for (const auto& subject : config.value("subjects", std::vector<std::string>{}))
      prefixes_.push_back(subject.substr(0, subject.find_first_of("*>")));
  } catch (const JetStreamRefusal& refusal) {
    if (refusal.code() != stream_not_found) throw;
    throw NatsError("there is no stream " + stream_ +
                    ": consumers make it at their first start; --stream names another");
  }
}

void DeadLetterStream::each(const DeadLetterFilter& filter, const std::function<void(DeadLetter&)>& visit) {
  StreamPart part{.stream = stream_, .filter_subject = {}, .since = filter.since};
  if (!filter.group.empty() && prefixes_.size() == 1 && prefixes_[0].ends_with('.'))
    part.filter_subject = prefixes_[0] + filter.group + ".>";
  read_stream(api_, part, [&](natsMsg* message, const AckSubject& ack) {
    DeadLetter letter;
    letter.sequence = ack.stream_sequence;
    letter.stored = Timestamp{duration_cast<milliseconds>(nanoseconds{ack.stored_at_ns})};
    letter.subject = natsMsg_GetSubject(message);
    read_headers(message, letter.headers);
    letter.size = number<std::size_t>(header(letter.headers, "Nats-Msg-Size"));
    std::erase_if(letter.headers, [](const auto& entry) { return entry.first == "Nats-Msg-Size"; });
    interpret(letter);
    if (is_structured(letter)) {  // its attributes are in what was left out
      auto whole = find(letter.sequence);
      if (!whole) return;
      letter = std::move(*whole);
    }
    if (filter.matches(letter)) visit(letter);
  });
}

std::optional<DeadLetter> DeadLetterStream::find(std::uint64_t sequence) {
  auto stored = find_message(api_.connection(), stream_, sequence);
  if (!stored) return std::nullopt;
  DeadLetter letter;
  letter.sequence = sequence;
  letter.stored = stored->stored;
  letter.subject = std::move(stored->subject);
  letter.headers = std::move(stored->headers);
  letter.data = std::move(stored->data);
  letter.size = letter.data.size();
  interpret(letter);
  return letter;
}

bool DeadLetterStream::is_from_its_group(const DeadLetter& letter) const {
  return std::ranges::any_of(prefixes_, [&letter](const auto& prefix) {
    return letter.subject.starts_with(prefix + letter.group + ".");
  });
}

bool DeadLetterStream::remove(std::uint64_t sequence) {
  jsErrCode code{};
  const auto status = js_DeleteMsg(jetstream(api_.connection()), stream_.c_str(), sequence, nullptr, &code);
  if (code == JSSequenceNotFoundErr || code == JSNoMessageFoundErr) return false;
  check(status, "delete the message " + std::to_string(sequence) + " of the stream " + stream_, code);
  return true;
}

std::optional<StoredEvent> find_message(Connection& connection, const std::string& stream,
                                        std::uint64_t sequence) {
  natsMsg* raw = nullptr;
  jsErrCode code{};
  const auto status = js_GetMsg(&raw, jetstream(connection), stream.c_str(), sequence, nullptr, &code);
  const MessagePtr message{raw};
  if (code == JSNoMessageFoundErr || code == JSStreamNotFoundErr || code == JSSequenceNotFoundErr)
    return std::nullopt;
  check(status, "read the message " + std::to_string(sequence) + " of the stream " + stream, code);
  return StoredEvent{.headers = headers_of(raw),
                     .data = {natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))},
                     .subject = natsMsg_GetSubject(raw),
                     .stored = Timestamp{duration_cast<milliseconds>(nanoseconds{natsMsg_GetTime(raw)})}};
}

}  // namespace tidings
