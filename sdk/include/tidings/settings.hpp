#pragma once

// Settings come from the environment, under the names of the original system; flags of a command override
// them. An unusable value is a SettingError that names the setting, the value and what it takes.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace tidings {

/// Reads the environment at each call. Commands put their flags into the environment before anything reads
/// it, so that a flag wins and there is one path for both.
namespace settings {

/// The value as given; empty text counts as not set, as in shells.
[[nodiscard]] std::optional<std::string> text(const char* name);
[[nodiscard]] std::string text_or(const char* name, const std::string& fallback);

/// Throws SettingError unless the value is a whole number in [min, max].
[[nodiscard]] std::int64_t integer_or(const char* name, std::int64_t fallback, std::int64_t min,
                                      std::int64_t max);
[[nodiscard]] std::chrono::milliseconds milliseconds_or(const char* name, std::chrono::milliseconds fallback,
                                                        std::chrono::milliseconds min,
                                                        std::chrono::milliseconds max);

}  // namespace settings

/// Where a service keeps its tables: `sqlite:auth.db`, Prisma's `file:./auth.db` or `postgresql://…`.
struct DatabaseUrl {
  enum class Kind { sqlite, postgresql };
  Kind kind = Kind::sqlite;
  std::string location;  ///< the file's path, or the whole postgresql:// URL

  /// Throws SettingError naming `setting` when the URL is of an unknown kind.
  [[nodiscard]] static DatabaseUrl parse(const std::string& url, const std::string& setting = "DATABASE_URL");
};

}  // namespace tidings
