#include "redacted_url.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace tidings {
namespace settings {

std::optional<std::string> text(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string{value};
}

std::string text_or(const char* name, const std::string& fallback) { return text(name).value_or(fallback); }

std::int64_t integer_or(const char* name, std::int64_t fallback, std::int64_t min, std::int64_t max) {
  const auto value = text(name);
  if (!value) return fallback;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error != std::errc{} || end != value->data() + value->size() || number < min || number > max)
    throw SettingError(std::string(name) + "=" + *value + ": takes a whole number from " +
                       std::to_string(min) + " to " + std::to_string(max));
  return number;
}

std::chrono::milliseconds milliseconds_or(const char* name, std::chrono::milliseconds fallback,
                                          std::chrono::milliseconds min, std::chrono::milliseconds max) {
  return std::chrono::milliseconds{integer_or(name, fallback.count(), min.count(), max.count())};
}

}  // namespace settings

DatabaseUrl DatabaseUrl::parse(const std::string& url, const std::string& setting) {
  if (url.starts_with("postgresql://") || url.starts_with("postgres://")) return {Kind::postgresql, url};
  std::string path = url;
  for (const std::string scheme : {"sqlite:", "file:"}) {
    if (!url.starts_with(scheme)) continue;
    path.erase(0, scheme.size());
    if (path.starts_with("//")) path.erase(0, 2);  // sqlite:///absolute, sqlite://relative
  }
  path.resize(std::min(path.size(), path.find('?')));  // Prisma's ?connection_limit=1 is not ours
  if (path.empty() || path.find("://") != std::string::npos)
    throw SettingError(setting + "=" + (url.find("://") == std::string::npos ? url : redacted_url(url)) +
                       ": takes sqlite:PATH, file:PATH or postgresql://HOST/DATABASE");
  return {Kind::sqlite, path};
}

}  // namespace tidings
