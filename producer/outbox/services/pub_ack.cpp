#include "services/pub_ack.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace tidings {

using Kind = PublishResult::Kind;

namespace {

// JetStream's error codes that say something other than their HTTP-like class.
constexpr int too_many_requests = 429;  // a class of its own: the stream takes in more than it can store
constexpr int account_resources_exceeded = 10002;
constexpr int stream_mismatch = 10060;
constexpr int store_failed = 10077;  // a limit of the whole stream, or of the subject
constexpr int stream_sealed = 10109;
constexpr int duplicate_in_process = 10158;  // what newer servers say in place of sequence 0
constexpr int too_many_batches = 10210;      // that are not committed yet

constexpr std::string_view sequence = "\"seq\"";

}  // namespace

PublishResult read_pub_ack(natsMsg* message) {
  if (natsMsg_IsNoResponders(message))
    return {.kind = Kind::transient, .error = "no stream answers (no responders)", .maybe_subject = true};
  const std::string_view body{natsMsg_GetData(message),
                              static_cast<std::size_t>(natsMsg_GetDataLength(message))};
  if (body.find("\"error\"") == std::string_view::npos) {
    // The server leaves out what is false, and a stream's name holds no quotes.
    const auto at = body.find(sequence);
    if (at == std::string_view::npos) return {.kind = Kind::transient, .error = "the answer is not a PubAck"};
    if (body.find("\"duplicate\"") == std::string_view::npos) return {.kind = Kind::stored};
    // A leader that has proposed an event, and does not know yet whether it is stored, answers a repeat with
    // sequence 0. If that leader was cut off from the others, the event is never stored (2.9.10, 2.10.27).
    const auto number = body.find_first_not_of(" :", at + sequence.size());
    if (number == std::string_view::npos || body[number] == '0')
      return {.kind = Kind::transient,
              .error = "the stream was given the event before, but does not say that it stored it"};
    return {.kind = Kind::stored};
  }
  using Path = nlohmann::json::json_pointer;
  auto answer = nlohmann::json::parse(body, nullptr, false);
  if (!answer.is_object()) answer = nlohmann::json::object();
  const int code = answer.value(Path{"/error/code"}, 500), detail = answer.value(Path{"/error/err_code"}, 0);
  const auto text = answer.value(Path{"/error/description"}, std::string{"unknown error"});
  const bool not_the_events_fault = code >= 500 || code == too_many_requests ||
                                    detail == account_resources_exceeded || detail == stream_mismatch ||
                                    detail == stream_sealed || detail == duplicate_in_process ||
                                    detail == too_many_batches;
  return {.kind = not_the_events_fault ? Kind::transient : Kind::refused,
          .error = text,
          .maybe_subject = detail == store_failed};
}

}  // namespace tidings
