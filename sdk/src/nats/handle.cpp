#include "nats/handle.hpp"

namespace tidings {
namespace {

Error::Retry retry(natsStatus status) {
  switch (status) {
    case NATS_INVALID_ARG:
    case NATS_INVALID_SUBJECT:
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
    case NATS_ADDRESS_MISSING:
    case NATS_SSL_ERROR:
    case NATS_SECURE_CONNECTION_REQUIRED:
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_MAX_PAYLOAD:
      return Error::Retry::no;
    default:
      return Error::Retry::yes;
  }
}

const char* remedy(jsErrCode code) {
  switch (code) {
    case JSNotEnabledErr:
      return ": is JetStream off on the NATS server? Turn it on: `nats-server -js`, or `jetstream {}` in its "
             "configuration";
    case JSNotEnabledForAccountErr:
      return ": JetStream is off for this account: turn it on in the configuration of the NATS server, "
             "`jetstream: enabled` for the account";
    default:
      return "";
  }
}

}  // namespace

std::string jetstream_code(jsErrCode code) {
  if (code == jsErrCode{}) return {};
  return " [JetStream " + std::to_string(static_cast<int>(code)) + "]" + remedy(code);
}

void check(natsStatus status, const std::string& action, jsErrCode code) {
  if (status == NATS_OK) return;
  natsStatus detailed = NATS_OK;
  const char* detail = nats_GetLastError(&detailed);
  std::string what = "cannot " + action + ": " + natsStatus_GetText(status);
  if (detailed == status && detail != nullptr && *detail != '\0') what += std::string(" (") + detail + ")";
  throw NatsError(what + jetstream_code(code), retry(status));
}

}  // namespace tidings
