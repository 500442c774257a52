#include "support/jetstream.hpp"

#include "support/wait.hpp"

#include <nats/nats.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <set>
#include <stdexcept>

namespace tidings::test {
namespace {

using nlohmann::json;
constexpr int not_found = 404;

template <auto Destroy>
struct Deleter {
  void operator()(auto* handle) const noexcept { Destroy(handle); }
};
using OptionsPtr = std::unique_ptr<natsOptions, Deleter<natsOptions_Destroy>>;
using ConnectionPtr = std::unique_ptr<natsConnection, Deleter<natsConnection_Destroy>>;
using SubscriptionPtr = std::unique_ptr<natsSubscription, Deleter<natsSubscription_Destroy>>;
using MessagePtr = std::unique_ptr<natsMsg, Deleter<natsMsg_Destroy>>;
using InboxPtr = std::unique_ptr<natsInbox, Deleter<natsInbox_Destroy>>;

void check(natsStatus status, const std::string& action) {
  if (status != NATS_OK)
    throw std::runtime_error("test client: " + action + ": " + natsStatus_GetText(status));
}

json parse(natsMsg* message) {
  const char* data = natsMsg_GetData(message);
  return json::parse(data, data + natsMsg_GetDataLength(message));
}

int error_code(const json& answer) {
  return answer.contains("error") ? answer["error"].value("code", 500) : 0;
}

void check(const json& answer, const std::string& action) {
  if (error_code(answer) != 0)
    throw std::runtime_error("test client: " + action + ": " + answer["error"].dump());
}

std::string decode_base64(const std::string& text) {
  static constexpr std::string_view alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const auto values = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < alphabet.size(); ++i) table[static_cast<unsigned char>(alphabet[i])] = i;
    return table;
  }();
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char letter : text) {
    if (letter == '=') break;
    bits = (bits << 6U) | values[static_cast<unsigned char>(letter)];
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xffU));
  }
  return bytes;
}

/// `NATS/1.0\r\n` and then `Name: value\r\n` lines.
std::vector<std::pair<std::string, std::string>> parse_headers(const std::string& block) {
  std::vector<std::pair<std::string, std::string>> headers;
  auto start = block.find("\r\n");
  while (start != std::string::npos) {
    start += 2;
    const auto end = block.find("\r\n", start);
    const auto colon = block.find(':', start);
    if (end == std::string::npos || colon >= end) break;
    const auto value = std::min(block.find_first_not_of(' ', colon + 1), end);
    headers.emplace_back(block.substr(start, colon - start), block.substr(value, end - value));
    start = end;
  }
  return headers;
}

/// As servers write it: UTC, up to nine decimals.
std::chrono::sys_time<std::chrono::microseconds> parse_time(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) throw std::runtime_error("test client: not a time: " + text);
  const auto decimals = *rest == '.' ? std::strtod(rest, nullptr) : 0.0;
  return std::chrono::sys_seconds{std::chrono::seconds{::timegm(&parts)}} +
         std::chrono::microseconds{std::llround(decimals * 1e6)};
}

StoredMessage stored_message(const json& message) {
  return {message.at("seq").get<std::uint64_t>(), message.at("subject").get<std::string>(),
          parse_headers(decode_base64(message.value("hdrs", ""))), decode_base64(message.value("data", "")),
          parse_time(message.at("time").get<std::string>())};
}

json with_defaults(json defaults, const json& config) {
  defaults.update(config);
  return defaults;
}

}  // namespace

std::string StoredMessage::header(const std::string& name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

struct JetStream::State {
  State(const std::string& url, std::chrono::milliseconds timeout, std::string its_inbox_prefix)
      : timeout_ms(timeout.count()), inbox_prefix(std::move(its_inbox_prefix)) {
    natsOptions* raw_options = nullptr;
    check(natsOptions_Create(&raw_options), "options");
    const OptionsPtr options{raw_options};
    check(natsOptions_SetURL(options.get(), url.c_str()), "url " + url);
    check(natsOptions_SetName(options.get(), "test client"), "name");
    check(natsOptions_SetCustomInboxPrefix(options.get(), inbox_prefix.c_str()), "inbox prefix");
    check(natsOptions_SetMaxReconnect(options.get(), -1), "max reconnect");
    check(natsOptions_SetReconnectWait(options.get(), 20), "reconnect wait");
    check(natsOptions_SetReconnectJitter(options.get(), 1, 1), "reconnect jitter");
    check(natsOptions_SetFailRequestsOnDisconnect(options.get(), true), "fail requests on disconnect");
    natsConnection* raw_connection = nullptr;
    check(natsConnection_Connect(&raw_connection, options.get()), "connect to " + url);
    connection.reset(raw_connection);
  }

  std::string new_inbox() const {
    natsInbox* raw = nullptr;
    check(natsInbox_Create(&raw), "inbox");
    const InboxPtr inbox{raw};  // _INBOX.<unique>
    return inbox_prefix + std::string{raw}.substr(std::string{raw}.find('.'));
  }

  /// The answer as it is, an error too. Asks again when the connection was cut meanwhile: after a restart
  /// of the server, the first request may still be written to the old connection.
  json ask(const std::string& request, const json& body) const {
    const auto text = body.empty() ? std::string{} : body.dump();
    const auto subject = "$JS.API." + request;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds{timeout_ms};
    natsMsg* answer = nullptr;
    natsStatus status = NATS_OK;
    do {
      status =
          natsConnection_RequestString(&answer, connection.get(), subject.c_str(), text.c_str(), timeout_ms);
    } while (status == NATS_CONNECTION_DISCONNECTED && std::chrono::steady_clock::now() < end);
    check(status, request);
    return parse(MessagePtr{answer}.get());
  }

  bool exists(const std::string& request) const {
    const auto answer = ask(request, json::object());
    if (error_code(answer) == not_found) return false;
    check(answer, request);
    return true;
  }

  const std::int64_t timeout_ms;
  std::vector<SubscriptionPtr> kept;  // ends after the connection
  const std::string inbox_prefix;
  ConnectionPtr connection;
};

JetStream::JetStream(const std::string& url, std::chrono::milliseconds timeout,
                     const std::string& inbox_prefix)
    : state_(std::make_unique<State>(url, timeout, inbox_prefix)) {}
JetStream::~JetStream() = default;

json JetStream::api(const std::string& request, const json& body) {
  auto answer = state_->ask(request, body);
  check(answer, request);
  return answer;
}

void JetStream::add_stream(const std::string& stream, const std::vector<std::string>& subjects,
                           const json& config) {
  const auto whole = with_defaults(
      {{"name", stream}, {"subjects", subjects}, {"storage", "file"}, {"retention", "limits"}}, config);
  // A server that has just deleted a stream of this name may still be at it (2.10.27).
  std::string busy;
  const bool made = eventually(5s, [&] {
    try {
      api("STREAM.CREATE." + stream, whole);
      return true;
    } catch (const std::runtime_error& error) {
      busy = error.what();
      if (busy.find("10049") == std::string::npos) throw;
      return false;
    }
  });
  if (!made) throw std::runtime_error(busy);
}

bool JetStream::has_stream(const std::string& stream) { return state_->exists("STREAM.INFO." + stream); }

json JetStream::stream_config(const std::string& stream) { return api("STREAM.INFO." + stream).at("config"); }

std::uint64_t JetStream::message_count(const std::string& stream) {
  return api("STREAM.INFO." + stream).at("state").at("messages").get<std::uint64_t>();
}

std::uint64_t JetStream::last_sequence(const std::string& stream) {
  const auto state = api("STREAM.INFO." + stream).at("state");
  return state.at("messages") == 0 ? 0 : state.at("last_seq").get<std::uint64_t>();
}

// Asks for many messages before the first answer is there: one round trip each would take seconds.
// A consumer would be as fast, but the test would then see a consumer that is not the code's.
std::vector<StoredMessage> JetStream::messages(const std::string& stream) {
  constexpr std::uint64_t in_flight = 500;
  const auto state = api("STREAM.INFO." + stream).at("state");
  const auto first = state.at("first_seq").get<std::uint64_t>();
  const auto last = state.at("last_seq").get<std::uint64_t>();
  const auto request = "$JS.API.STREAM.MSG.GET." + stream;

  const auto inbox = state_->new_inbox();
  natsSubscription* raw_subscription = nullptr;
  const std::string prefix = inbox + ".";
  check(natsConnection_SubscribeSync(&raw_subscription, state_->connection.get(), (prefix + "*").c_str()),
        "subscribe");
  // Kept: nats.c (before 3.6.1) may crash when a subscription ends while an answer comes.
  auto* const subscription = state_->kept.emplace_back(raw_subscription).get();

  std::vector<StoredMessage> found;
  std::set<std::string> heard;  // after a partition two may answer, the old leader and the new
  for (std::uint64_t asked = first, answered = first; answered <= last;) {
    for (; asked <= last && asked < answered + in_flight; ++asked) {
      const auto body = json{{"seq", asked}}.dump();
      const auto reply = prefix + std::to_string(asked);
      check(natsConnection_PublishRequestString(state_->connection.get(), request.c_str(), reply.c_str(),
                                                body.c_str()),
            request);
    }
    natsMsg* raw_answer = nullptr;
    check(natsSubscription_NextMsg(&raw_answer, subscription, state_->timeout_ms), request);
    const MessagePtr message{raw_answer};
    if (!heard.insert(natsMsg_GetSubject(raw_answer)).second) continue;
    ++answered;
    const auto answer = parse(raw_answer);
    if (error_code(answer) == not_found) continue;  // deleted
    check(answer, request);
    found.push_back(stored_message(answer.at("message")));
  }
  std::ranges::sort(found, {}, &StoredMessage::seq);
  return found;
}

void JetStream::purge(const std::string& stream) { api("STREAM.PURGE." + stream); }
void JetStream::delete_stream(const std::string& stream) { api("STREAM.DELETE." + stream); }

void JetStream::add_consumer(const std::string& stream, const std::string& durable, const json& config) {
  const json body{{"stream_name", stream},
                  {"config", with_defaults({{"durable_name", durable},
                                            {"deliver_policy", "all"},
                                            {"replay_policy", "instant"},
                                            {"ack_policy", "explicit"}},
                                           config)}};
  api("CONSUMER.DURABLE.CREATE." + stream + "." + durable, body);
}

bool JetStream::has_consumer(const std::string& stream, const std::string& durable) {
  return state_->exists("CONSUMER.INFO." + stream + "." + durable);
}

json JetStream::consumer_config(const std::string& stream, const std::string& durable) {
  return api("CONSUMER.INFO." + stream + "." + durable).at("config");
}

ConsumerState JetStream::consumer(const std::string& stream, const std::string& durable) {
  const auto info = api("CONSUMER.INFO." + stream + "." + durable);
  const auto number = [](const json& from, const char* field) { return from.at(field).get<std::uint64_t>(); };
  return {.num_pending = number(info, "num_pending"),
          .num_ack_pending = number(info, "num_ack_pending"),
          .num_redelivered = number(info, "num_redelivered"),
          .num_waiting = number(info, "num_waiting"),
          .delivered = number(info.at("delivered"), "consumer_seq"),
          .delivered_to = number(info.at("delivered"), "stream_seq"),
          .acked_to = number(info.at("ack_floor"), "stream_seq")};
}

void JetStream::delete_consumer(const std::string& stream, const std::string& durable) {
  api("CONSUMER.DELETE." + stream + "." + durable);
}

PublishAck JetStream::publish(const std::string& subject, const std::string& data,
                              const std::vector<std::pair<std::string, std::string>>& headers) {
  natsMsg* raw_message = nullptr;
  check(natsMsg_Create(&raw_message, subject.c_str(), nullptr, data.data(), static_cast<int>(data.size())),
        "message");
  const MessagePtr message{raw_message};
  for (const auto& [name, value] : headers)
    check(natsMsgHeader_Add(message.get(), name.c_str(), value.c_str()), "header " + name);
  natsMsg* raw_answer = nullptr;
  check(natsConnection_RequestMsg(&raw_answer, state_->connection.get(), message.get(), state_->timeout_ms),
        "publish to " + subject);
  const auto answer = parse(MessagePtr{raw_answer}.get());
  check(answer, "publish to " + subject);
  return {answer.at("seq").get<std::uint64_t>(), answer.value("duplicate", false)};
}

}  // namespace tidings::test
