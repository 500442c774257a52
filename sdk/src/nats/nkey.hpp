#pragma once

#include <string>

namespace tidings {

/// The public user key (`U…`) of the seed in a file: nats.c needs both. Throws SettingError naming the file
/// when it holds no user seed (`SU…`).
[[nodiscard]] std::string nkey_public(const std::string& seed_file);

/// Throws SettingError naming the file when it holds no token or no user seed. nats.c reads the file of
/// NATS_CREDS at each connection, and would report an unusable one as a server that does not answer.
void check_credentials(const std::string& file);

}  // namespace tidings
