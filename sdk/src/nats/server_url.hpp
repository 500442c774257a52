#pragma once

// URLs of NATS servers: what nats.c would wait for instead of refusing it, and logins that it does not
// decode.

#include <tidings/connection.hpp>

#include <string>
#include <vector>

namespace tidings {

/// Throws SettingError unless each is nats://HOST:PORT, tls://HOST:PORT or HOST:PORT, maybe with a login.
void require_server_urls(const std::vector<std::string>& urls);

/// Logins in URLs are percent-encoded, which nats.c 3.4 does not know: those that are become the options'
/// user and password, or token. Throws SettingError when the servers have several, since nats.c takes one
/// then.
[[nodiscard]] ConnectionOptions with_decoded_login(ConnectionOptions options);

}  // namespace tidings
