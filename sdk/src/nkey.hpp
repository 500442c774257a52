#pragma once

#include <string>

namespace tidings {

/// The public user key (`U…`) of the seed in a file, which nats.c wants beside the file itself.
/// Throws SettingError naming the file when it holds no user seed (`SU…`).
[[nodiscard]] std::string nkey_public(const std::string& seed_file);

}  // namespace tidings
