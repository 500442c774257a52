#pragma once

// How a connection proves who it is, and whom it trusts: the NATS_* settings as nats.c takes them.

#include <tidings/connection.hpp>

#include <nats/nats.h>

#include <string>

namespace tidings {

// Both throw NatsError or SettingError that names the file which cannot be used.
void apply_login(natsOptions* target, const ConnectionOptions& options);
void apply_tls(natsOptions* target, const ConnectionOptions& options);

/// True when the login signs what the server sends.
[[nodiscard]] bool signs(const ConnectionOptions& options);

/// For error texts: which login was tried, never the secret.
[[nodiscard]] std::string login_method(const ConnectionOptions& options);

/// The text of an error of TLS: a failure says little without the files that were used.
[[nodiscard]] std::string tls_refusal(const ConnectionOptions& options, const std::string& why);

}  // namespace tidings
