#include "nats/jetstream_request.hpp"

#include "nats/handle.hpp"

#include <string_view>

namespace tidings {

using nlohmann::json;

std::string api_subject(const Connection& connection, const std::string& request) {
  return jetstream_prefix(connection) + "." + request;
}

std::string why_no_responders(const Connection& connection) {
  const auto& prefix = jetstream_prefix(connection);
  if (prefix == "$JS.API") return jetstream_code(JSNotEnabledErr);
  return ": nobody listens to " + prefix +
         ".>: is NATS_JS_DOMAIN or NATS_JS_API_PREFIX right, and the leaf node connected or the import made?";
}

json ask_jetstream(Connection& connection, const std::string& request, const std::string& action,
                   const std::optional<json>& body, std::chrono::milliseconds timeout) {
  natsMsg* raw = nullptr;
  const auto subject = api_subject(connection, request);
  const auto text = body ? body->dump() : std::string{};
  const auto status =
      natsConnection_RequestString(&raw, native(connection), subject.c_str(), text.c_str(), timeout.count());
  const MessagePtr message{raw};
  if (status == NATS_NO_RESPONDERS)
    throw NatsError("cannot " + action + ": " + natsStatus_GetText(status) + why_no_responders(connection),
                    Error::Retry::yes);
  check(status, action);
  auto answer = json::parse(
      std::string_view{natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))}, nullptr,
      false);
  if (!answer.is_object())
    throw NatsError("cannot " + action + ": the answer is no JSON object", Error::Retry::yes);
  return answer;
}

int error_code(const json& answer) {
  const auto error = answer.find("error");
  return error != answer.end() && error->is_object() ? error->value("err_code", -1) : 0;
}

void require_done(const json& answer, const std::string& action) {
  const auto code = error_code(answer);
  if (code == 0) return;
  throw NatsError("cannot " + action + ": " + answer.at("error").value("description", std::string{}) +
                      jetstream_code(static_cast<jsErrCode>(code)),
                  Error::Retry::yes);
}

}  // namespace tidings
