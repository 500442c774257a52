#pragma once

// Which servers a connection goes to, how it logs in, whom it trusts, and which JetStream it asks: the NATS_*
// settings as nats.c takes them, and as error messages describe them.

#include <tidings/connection.hpp>

#include <nats/nats.h>

#include <string>

namespace tidings {

/// Throws NatsError or SettingError that names what cannot be used: a URL, a file.
void apply(const ConnectionOptions& options, natsOptions* target);

/// What the subjects of JetStream's API begin with: `$JS.API` unless the options say otherwise. Throws
/// SettingError for what they cannot say.
[[nodiscard]] std::string jetstream_prefix(const ConnectionOptions& options);

/// Which login was tried, never the secret.
[[nodiscard]] std::string login_method(const ConnectionOptions& options);

/// The text of a TLS error: a failure says little without the files that were used.
[[nodiscard]] std::string tls_refusal(const ConnectionOptions& options, const std::string& why);

}  // namespace tidings
