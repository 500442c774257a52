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

}  // namespace

void check(natsStatus status, const std::string& action, jsErrCode code) {
  if (status == NATS_OK) return;
  natsStatus detailed = NATS_OK;
  const char* detail = nats_GetLastError(&detailed);
  std::string what = "cannot " + action + ": " + natsStatus_GetText(status);
  if (detailed == status && detail != nullptr && *detail != '\0') what += std::string(" (") + detail + ")";
  if (code != jsErrCode{}) what += " [JetStream " + std::to_string(static_cast<int>(code)) + "]";
  throw NatsError(what, retry(status));
}

}  // namespace tidings
