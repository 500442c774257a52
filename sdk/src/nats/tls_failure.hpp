#pragma once

// Why a connect failed, as far as TLS is concerned: whether to wait, or whether one side refuses the other.

#include <nats/nats.h>

#include <string>

namespace tidings {

struct TlsFailure {
  enum class Kind {
    none,     ///< the failure has nothing to do with TLS
    cut,      ///< the connection ended during the handshake: an outage
    hung_up,  ///< the server ended the connection after the handshake, without a word
    refused,  ///< waiting does not help
  };
  Kind kind = Kind::none;
  std::string why{};  ///< empty for none
};

/// Call it before a connect, on the same thread: nats.c and OpenSSL keep what they said of an earlier one.
void forget_tls_errors();

/// Why the connect failed that this thread has just tried and that ended with `status`.
TlsFailure last_tls_failure(natsStatus status);

}  // namespace tidings
