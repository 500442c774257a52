#pragma once

// Partitions of a stream: all events of an aggregate have one token in front of their type, `p07of16`, by
// which a server's filters share the stream out among consumers that keep the order of each aggregate.

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// FNV-1a of 32 bits: the hash of `partition()` in nats-server's subject mappings.
[[nodiscard]] constexpr std::uint32_t fnv1a_32(std::string_view bytes) noexcept {
  constexpr std::uint32_t offset_basis = 2166136261U, prime = 16777619U;
  std::uint32_t hash = offset_basis;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * prime;
  return hash;
}

/// Which one, counted from 0, of how many.
struct Partition {
  static constexpr int most = 99;  ///< two digits

  int number = 0;
  int of = 1;

  /// That of an aggregate. `of` is 1 to `most`.
  [[nodiscard]] static constexpr Partition of_aggregate(std::string_view id, int of) noexcept {
    return {.number = static_cast<int>(fnv1a_32(id) % static_cast<std::uint32_t>(of)), .of = of};
  }

  /// `p07of16`; numbers of any length. Empty for other tokens.
  [[nodiscard]] static std::optional<Partition> parse(std::string_view token) {
    const auto middle = token.find("of");
    if (middle == std::string_view::npos || !token.starts_with('p')) return std::nullopt;
    Partition partition;
    const auto take = [](std::string_view digits, int& number) {
      const auto* const end = digits.data() + digits.size();
      const auto read = std::from_chars(digits.data(), end, number);
      return !digits.starts_with('-') && read.ec == std::errc{} && read.ptr == end;
    };
    if (!take(token.substr(1, middle - 1), partition.number) || !take(token.substr(middle + 2), partition.of))
      return std::nullopt;
    return partition;
  }

  void append_token_to(std::string& subject) const {
    constexpr auto digit = [](int value) { return static_cast<char>('0' + value); };
    const std::array<char, token_size> token{'p', digit(number / 10), digit(number % 10), 'o',
                                             'f', digit(of / 10),     digit(of % 10)};
    subject.append(token.data(), token.size());
  }
  static constexpr std::size_t token_size = 7;

  friend bool operator==(const Partition&, const Partition&) = default;
};

/// What to do, as the end of an error or a warning.
inline constexpr const char* how_to_change_partitions =
    "to change the number, stop the relay, wait until no group has anything pending, change it on both sides, and "
    "start (docs/partitions.md)";

}  // namespace tidings
