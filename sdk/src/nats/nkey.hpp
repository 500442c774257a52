#pragma once

#include <string>

namespace tidings {

/// The public user key (`U…`) of the seed in a file, which nats.c wants beside the file itself.
/// Throws SettingError naming the file when it holds no user seed (`SU…`).
[[nodiscard]] std::string nkey_public(const std::string& seed_file);

/// nats.c reads the file of NATS_CREDS at each connection, and takes one that it cannot use for a server
/// that does not answer. Throws SettingError naming the file when it holds no token or no user seed.
void check_credentials(const std::string& file);

}  // namespace tidings
