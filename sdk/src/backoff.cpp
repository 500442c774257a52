#include <tidings/backoff.hpp>
#include <tidings/settings.hpp>

#include <algorithm>
#include <cstdint>

namespace tidings {
namespace {

/// FNV-1a: the same on every machine and in every build, unlike std::hash.
std::uint64_t hash(std::string_view key, int attempt) {
  std::uint64_t value = 14695981039346656037ULL;
  const auto mix = [&value](unsigned char byte) { value = (value ^ byte) * 1099511628211ULL; };
  for (const char letter : key) mix(static_cast<unsigned char>(letter));
  mix(static_cast<unsigned char>(attempt & 0xff));
  return value ^ (value >> 32U);
}

}  // namespace

Backoff Backoff::from_environment(const char* base_setting, const char* max_setting) {
  using std::chrono::milliseconds;
  const Backoff defaults;
  const auto base = settings::milliseconds_or(base_setting, defaults.base, milliseconds{1}, longest);
  return {base, settings::milliseconds_or(max_setting, std::max(base, defaults.max), base, longest)};
}

std::chrono::milliseconds Backoff::delay(int attempt, std::string_view key) const {
  constexpr int cap = 40;  // 2^40 ms is 35 years; more would overflow
  const int doublings = std::clamp(attempt, 1, cap + 1) - 1;
  auto full = max;
  if (base.count() <= (max.count() >> doublings)) full = std::chrono::milliseconds{base.count() << doublings};
  const auto share = static_cast<std::int64_t>(hash(key, attempt) % 1024);
  return full - std::chrono::milliseconds{full.count() / 4 * share / 1024};
}

}  // namespace tidings
