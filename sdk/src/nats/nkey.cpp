#include "nats/nkey.hpp"

#include <tidings/error.hpp>

#include <openssl/evp.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

namespace tidings {
namespace {

// An encoded key is base32 of: prefix, 32 bytes, CRC-16. A seed's prefix is two bytes: "seed"
// and the kind of key, five bits each (nats-io/nkeys).
using Bytes = std::vector<std::uint8_t>;
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::uint8_t user_prefix = 20U << 3U;
constexpr std::size_t key_bytes = 32;
constexpr std::size_t seed_text_length = 58;

/// The first line that is a user's seed; empty when there is none.
std::string find_seed(const std::string& file) {
  std::ifstream in{file};
  for (std::string line; std::getline(in, line);) {
    while (line.ends_with('\r') || line.ends_with(' ')) line.pop_back();
    if (line.starts_with("SU") && line.size() == seed_text_length) return line;
  }
  return {};
}

/// The same bits in groups of another size; what does not fill the last group is dropped.
Bytes regroup(const Bytes& groups, unsigned bits_each, unsigned bits_wanted) {
  Bytes regrouped;
  std::uint32_t window = 0;
  unsigned bits = 0;
  for (const auto group : groups) {
    window = (window << bits_each) | group;
    bits += bits_each;
    while (bits >= bits_wanted) {
      bits -= bits_wanted;
      regrouped.push_back(static_cast<std::uint8_t>((window >> bits) & ((1U << bits_wanted) - 1)));
    }
  }
  return regrouped;
}

/// CRC-16/XMODEM.
std::uint16_t crc16(const Bytes& bytes) {
  std::uint32_t crc = 0;
  for (const std::uint8_t byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte) << 8U;
    for (int bit = 0; bit < 8; ++bit)
      crc = ((crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U) & 0xffffU;
  }
  return static_cast<std::uint16_t>(crc);
}

/// The public key of a seed; empty when the seed is not one.
Bytes public_key(const std::string& seed) {
  Bytes digits;
  for (const char letter : seed) {
    const auto digit = alphabet.find(letter);
    if (digit == std::string_view::npos) return {};
    digits.push_back(static_cast<std::uint8_t>(digit));
  }
  const auto bytes = regroup(digits, 5, 8);
  if (bytes.size() < 2 + key_bytes) return {};
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> secret{
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes.data() + 2, key_bytes), EVP_PKEY_free};
  Bytes key(key_bytes);
  std::size_t length = key.size();
  if (!secret || EVP_PKEY_get_raw_public_key(secret.get(), key.data(), &length) != 1) return {};
  return key;
}

}  // namespace

std::string nkey_public(const std::string& seed_file) {
  auto key = public_key(find_seed(seed_file));
  if (key.empty())
    throw SettingError("NATS_NKEY=" + seed_file + ": takes a readable file with a user's nkey seed (SU…)");
  key.insert(key.begin(), user_prefix);
  const std::uint16_t crc = crc16(key);
  key.push_back(static_cast<std::uint8_t>(crc & 0xffU));
  key.push_back(static_cast<std::uint8_t>(crc >> 8U));
  std::string text;
  for (const auto digit : regroup(key, 8, 5)) text += alphabet[digit];  // 35 bytes are 56 digits
  return text;
}

void check_credentials(const std::string& file) {
  std::ifstream in{file};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (text.find("BEGIN NATS USER JWT") == std::string::npos || find_seed(file).empty())
    throw SettingError("NATS_CREDS: the credentials file " + file +
                       " cannot be used: takes a readable file with a user's JWT and seed (SU…)");
}

}  // namespace tidings
