#include "doctor_checks.hpp"
#include "nats/handle.hpp"
#include "nats/stream_config.hpp"
#include "printing.hpp"

#include <tidings/error.hpp>
#include <tidings/event.hpp>
#include <tidings/timestamp.hpp>

#include <algorithm>
#include <optional>
#include <string_view>

namespace tidings {
namespace {

using Outcome = Finding::Outcome;
using std::chrono::milliseconds;

constexpr int not_this_stream = 10060;
constexpr milliseconds answer_takes_at_most{1000};
constexpr std::size_t most_types = 200;  // a writer may put anything into the column

Json parse(natsMsg* message) {
  const auto size = static_cast<std::size_t>(natsMsg_GetDataLength(message));
  return Json::parse(std::string_view{natsMsg_GetData(message), size}, nullptr, false);
}

std::string in_hours(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::hours>(time).count()) + " h";
}

Finding check_jetstream(JetStreamApi& api) {
  Json account;
  try {
    account = api.request("INFO");
  } catch (const JetStreamRefusal&) {
    throw;
  } catch (const NatsError&) {
    // Logins with least rights need not have this one.
    if (api.connection().refusal().empty()) throw;
    return {Outcome::skipped, "this login may not ask for $JS.API.INFO"};
  }
  const auto used = account.value("storage", std::int64_t{0});
  const auto most = account.value("limits", Json::object()).value("max_storage", std::int64_t{-1});
  if (most > 0 && used >= most - most / 20)
    return {Outcome::failed,
            "the account has used " + std::to_string(used) + " of " + std::to_string(most) + " bytes",
            "give the account more storage (max_file), or a stream a max_age"};
  return {Outcome::ok, std::to_string(used) + " bytes stored"};
}

/// Empty when there is no such stream.
Json stream_info(JetStreamApi& api, const std::string& stream) {
  try {
    return api.request("STREAM.INFO." + stream);
  } catch (const JetStreamRefusal& refusal) {
    if (refusal.code() == stream_not_found) return {};
    throw;
  }
}

/// The name of one that takes the subjects, or some of them; empty also when this login may not ask.
std::string stream_of(JetStreamApi& api, const std::string& subjects) {
  try {
    const auto names = api.request("STREAM.NAMES", {{"subject", subjects}}).value("streams", Json::array());
    return names.is_array() && !names.empty() ? names.front().get<std::string>() : std::string{};
  } catch (const JetStreamRefusal&) {
    throw;
  } catch (const NatsError&) {
    if (api.connection().refusal().empty()) throw;
    return {};
  }
}

/// A second stream cannot have subjects that one has.
Finding check_missing_stream(JetStreamApi& api, const OutboxProcessorOptions& options) {
  const auto subjects = options.publisher.subject_prefix + ".>";
  const auto missing = options.publisher.stream + " is not there";
  if (const auto other = stream_of(api, subjects); !other.empty())
    return {Outcome::failed, missing + ", and " + other + " takes " + subjects + " or a part of it",
            "set OUTBOX_STREAM=" + other + ", or another OUTBOX_SUBJECT_PREFIX"};
  if (options.manage_stream) return {Outcome::ok, missing + "; the relay makes it at its start"};
  return {Outcome::failed, missing, "make it, or let the relay do it (--manage-stream)"};
}

Finding check_stream(JetStreamApi& api, const Json& info, const OutboxProcessorOptions& options) {
  if (info.empty()) return check_missing_stream(api, options);
  const auto& name = options.publisher.stream;
  const auto config = nlohmann::json::parse(info.at("config").dump());
  compare(config, {.name = name,
                   .subjects = {options.publisher.subject_prefix + ".>"},
                   .replicas = options.stream_replicas});
  const auto detail = name + " takes " + options.publisher.subject_prefix + ".>";
  if (const auto limits = discarding_limits(config); !limits.empty())
    return {Outcome::warning, detail + ", and has " + limits,
            "change these limits: events that a group has not seen yet can be lost"};
  return {Outcome::ok, detail};
}

/// Empty when the stream would take the event. What is sent names another stream than any
/// that can be: none stores it.
std::string why_not_publish(Connection& connection, const PublisherOptions& publisher,
                            const OutboxEvent& event) {
  std::string subject;
  try {
    subject = publisher.subject_of(event);
  } catch (const Undecodable& error) {
    return error.what();
  }
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, subject.c_str(), nullptr, "", 0), "make a message");
  const MessagePtr probe{raw};
  check(natsMsgHeader_Set(raw, "Nats-Expected-Stream", "tidings doctor stores nothing"), "set a header");
  natsMsg* answer = nullptr;
  const auto status =
      natsConnection_RequestMsg(&answer, native(connection), raw, answer_takes_at_most.count());
  const MessagePtr received{answer};
  if (status == NATS_NO_RESPONDERS) return "no stream takes " + subject;
  if (status != NATS_OK) {
    const auto refusal = connection.refusal([&subject](std::string_view text) {
      return text.find('"' + subject + '"') != std::string_view::npos;
    });
    return refusal.empty() ? "no answer: " + std::string{natsStatus_GetText(status)} : refusal;
  }
  const auto error = parse(answer).value("error", Json::object());
  if (error.value("err_code", 0) == not_this_stream) return {};
  return error.value("description", std::string{"no PubAck"});
}

Finding check_permissions(JetStreamApi& api, const Json& info, const BrokerExpectations& expected) {
  if (!expected.types) return {Outcome::skipped, "the outbox cannot be read"};
  if (expected.types->empty()) return {Outcome::ok, "nothing is pending"};
  if (info.empty()) return {Outcome::skipped, "there is no stream yet"};
  std::string refused;
  std::size_t tried = 0;
  for (const auto& [type, aggregate] : *expected.types) {
    if (++tried > most_types) break;
    OutboxEvent event;
    event.event_type = type;
    event.aggregate_id = aggregate;
    const auto why = why_not_publish(api.connection(), expected.outbox.publisher, event);
    if (!why.empty()) refused.append(refused.empty() ? "" : "; ").append(type).append(": ").append(why);
  }
  const auto count = std::to_string(std::min(expected.types->size(), most_types));
  if (refused.empty()) return {Outcome::ok, "the " + count + " pending types may be published"};
  return {
      Outcome::failed, refused,
      "let this login publish to these subjects, and let the stream take them; what has a wrong type ends "
      "as DEAD_LETTER"};
}

/// By how much the server is ahead; empty when it does not tell.
std::optional<milliseconds> server_ahead(Connection& connection) {
  natsMsg* raw = nullptr;
  const auto before = now();
  const auto status = natsConnection_RequestString(&raw, native(connection), "$SYS.REQ.ACCOUNT.PING.CONNZ",
                                                   R"({"limit":1})", answer_takes_at_most.count());
  const auto after = now();
  const MessagePtr message{raw};
  if (status != NATS_OK) return std::nullopt;
  const auto answer = parse(raw);
  if (!answer.is_object()) return std::nullopt;
  const auto time = parse_timestamp(answer.value("server", Json::object()).value("time", std::string{}));
  return time ? std::optional{*time - (before + (after - before) / 2)} : std::nullopt;
}

Finding check_clock(JetStreamApi& api) {
  const auto ahead = server_ahead(api.connection());
  if (!ahead) return {Outcome::skipped, "this login may not ask the server ($SYS.REQ.ACCOUNT.PING.CONNZ)"};
  return compare_clocks("the server's clock", *ahead);
}

/// A group that begins anew at an old place handles again what its inbox has forgotten.
Finding check_retention(const Json& info, std::chrono::hours remembered) {
  if (info.empty()) return {Outcome::skipped, "there is no stream yet"};
  const std::chrono::nanoseconds max_age{info.at("config").value("max_age", std::int64_t{0})};
  const auto& state = info.at("state");
  const auto oldest = state.value("messages", std::uint64_t{0}) > 0
                          ? parse_timestamp(state.value("first_ts", std::string{}))
                          : std::nullopt;
  const auto kept = max_age.count() > 0 ? "for " + in_hours(max_age) : std::string{"for ever"};
  const auto detail =
      "the stream keeps events " + kept + ", consumers remember them for " + in_hours(remembered);
  if (max_age <= remembered && (!oldest || now() - *oldest <= remembered)) return {Outcome::ok, detail};
  return {Outcome::warning,
          detail + ": a group that is made by hand at an earlier place handles older ones a second time",
          "give the stream a max_age of at most " + in_hours(remembered) +
              ", or consumers a longer inbox_retention (and --inbox-retention here)"};
}

}  // namespace

std::vector<Check> check_broker(JetStreamApi& api, const BrokerExpectations& expected) {
  std::vector<Check> checks;
  checks.push_back({"jetstream", look([&] { return check_jetstream(api); },
                                      "turn JetStream on in the server and for this account")});
  Json info;
  checks.push_back({"stream", look(
                                  [&] {
                                    info = stream_info(api, expected.outbox.publisher.stream);
                                    return check_stream(api, info, expected.outbox);
                                  },
                                  "change the stream or the settings that are named")});
  checks.push_back({"permissions", look([&] { return check_permissions(api, info, expected); },
                                        "see that the server answers")});
  checks.push_back({"partitions", info.empty()
                                      ? Finding{Outcome::skipped, "there is no stream yet"}
                                      : look([&] { return check_partitions(api, expected.outbox.publisher); },
                                             "see that the server answers")});
  checks.push_back(
      {"clock of the server", look([&] { return check_clock(api); }, "see that the server answers")});
  checks.push_back({"retention", look([&] { return check_retention(info, expected.inbox_retention); },
                                      "see that the server answers")});
  return checks;
}

}  // namespace tidings
