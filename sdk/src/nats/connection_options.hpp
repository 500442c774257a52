#pragma once

// Which servers a connection goes to, how it logs in, and whom it trusts: the NATS_* settings as nats.c takes
// them, and as error messages describe them.

#include <tidings/connection.hpp>

#include <nats/nats.h>

#include <string>

namespace tidings {

/// Throws NatsError or SettingError that names what cannot be used: a URL, a file.
void apply(const ConnectionOptions& options, natsOptions* target);

/// Which login was tried, never the secret.
[[nodiscard]] std::string login_method(const ConnectionOptions& options);

/// The text of a TLS error: a failure says little without the files that were used.
[[nodiscard]] std::string tls_refusal(const ConnectionOptions& options, const std::string& why);

}  // namespace tidings
