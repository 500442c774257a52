#include "jetstream_api.hpp"

#include "nats/handle.hpp"
#include "nats/jetstream_request.hpp"

namespace tidings {
namespace {

constexpr std::int64_t longest_wait_ms = 5000;

ConnectionOptions options(const std::string& command) {
  auto options = ConnectionOptions::from_environment();
  options.name = "tidings " + command;
  return options;
}

}  // namespace

void require_stream_name(const std::string& stream) {
  const auto has_illegal = stream.find_first_of(" \t\r\n.*>/\\") != std::string::npos;
  if (stream.empty() || has_illegal)
    throw SettingError("the stream " + printable(stream) + ": takes a name without spaces and .*>/\\");
}

JetStreamApi::JetStreamApi(const std::string& command) : connection_(options(command)) {}

Json JetStreamApi::request(const std::string& what, const Json& body) {
  const auto text = body.is_null() ? std::string{} : body.dump();
  natsMsg* raw = nullptr;
  const auto subject = api_subject(connection_, what);
  const auto status = natsConnection_Request(&raw, native(connection_), subject.c_str(), text.data(),
                                             static_cast<int>(text.size()), longest_wait_ms);
  const MessagePtr message{raw};
  if (status == NATS_NO_RESPONDERS)
    throw NatsError("JetStream does not answer " + what + why_no_responders(connection_), Error::Retry::yes);
  if (const auto refusal = connection_.refusal(); status == NATS_TIMEOUT && !refusal.empty())
    throw NatsError("the NATS server refuses " + what + ": " + refusal);
  check(status, "ask JetStream for " + what);
  auto answer =
      Json::parse(natsMsg_GetData(raw), natsMsg_GetData(raw) + natsMsg_GetDataLength(raw), nullptr, false);
  if (!answer.is_object()) throw NatsError("JetStream's answer to " + what + " is not JSON");
  if (const auto error = answer.find("error"); error != answer.end())
    throw JetStreamRefusal(
        "JetStream refuses " + what + ": " + error->value("description", std::string{"without a reason"}),
        error->value("err_code", 0));
  return answer;
}

std::vector<Json> JetStreamApi::consumers(const std::string& stream) {
  std::vector<Json> all;
  for (;;) {
    const auto page = request("CONSUMER.LIST." + stream, {{"offset", all.size()}});
    const auto listed = page.find("consumers");
    if (listed == page.end() || !listed->is_array() || listed->empty()) return all;
    all.insert(all.end(), listed->begin(), listed->end());
    if (all.size() >= page.value("total", std::size_t{0})) return all;
  }
}

std::vector<std::string> filters_of(const Json& config) {
  auto filters = config.value("filter_subjects", std::vector<std::string>{});
  if (const auto one = config.value("filter_subject", std::string{}); !one.empty()) filters.push_back(one);
  return filters;
}

void JetStreamApi::send(const std::string& what, const Json& body, const std::string& reply) {
  const auto text = body.dump();
  check(natsConnection_PublishRequest(native(connection_), api_subject(connection_, what).c_str(),
                                      reply.c_str(), text.data(), static_cast<int>(text.size())),
        "ask JetStream for " + what);
}

}  // namespace tidings
