#include "nats/tls_failure.hpp"

#include <openssl/err.h>

#include <string_view>

namespace tidings {
namespace {

using Kind = TlsFailure::Kind;

constexpr std::string_view end_of_connection = "unexpected eof while reading";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/// OpenSSL has no words for a reset, and nats.c then prints a null pointer.
TlsFailure in_handshake(const std::string& text) {
  const bool cut = contains(text, end_of_connection) || text.ends_with("(null)");
  if (cut) return {Kind::cut, "the connection ends during the TLS handshake"};
  return {Kind::refused, text};
}

/// In TLS 1.3 a server that does not like our certificate, or has none, says so after the handshake. nats.c
/// takes its alert for the end of the connection; OpenSSL has kept it, unless nats.c has it in its text.
TlsFailure after_handshake(const std::string& text) {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  const std::string kept = reason != nullptr ? reason : "";
  for (const auto& told : {kept, text})
    if (contains(told, " alert ")) return {Kind::refused, "the server refuses TLS with us: " + told};
  // A server that closes before it has read all resets the connection, and the alert may be lost.
  if (contains(kept, end_of_connection) || contains(text, "SSL_"))
    return {Kind::hung_up,
            "the server ends the connection after the TLS handshake: does it ask for a client certificate of "
            "another CA?"};
  return {};
}

}  // namespace

void forget_tls_errors() {
  ERR_clear_error();
  natsConnection_Flush(nullptr);  // nats.c forgets an error only for another one: a bad argument
}

TlsFailure last_tls_failure(natsStatus status) {
  natsStatus ignored = NATS_OK;
  const char* error = nats_GetLastError(&ignored);
  const std::string text = error != nullptr ? error : "";
  switch (status) {
    case NATS_SECURE_CONNECTION_WANTED:
      return {Kind::refused, "the server offers no TLS"};
    case NATS_SSL_ERROR:
      return in_handshake(text);
    case NATS_CONNECTION_CLOSED:  // nats.c from 3.8 on
    case NATS_PROTOCOL_ERROR:     // before: it takes the end for an empty line
    case NATS_IO_ERROR:
      return after_handshake(text);
    default:
      return {};
  }
}

}  // namespace tidings
