#include "nats/nkey.hpp"

#include <tidings/error.hpp>

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace tidings {
namespace {

// An encoded key is base32 of: prefix, 32 bytes, CRC-16. A seed's prefix is two bytes: "seed"
// and the kind of key, five bits each (nats-io/nkeys).
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::uint8_t user_prefix = 20U << 3U;
constexpr std::size_t key_bytes = 32;
constexpr std::size_t seed_text_length = 58;

using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::optional<std::string> find_seed(const std::string& file) {
  std::ifstream in{file};
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.starts_with("SU") && line.size() == seed_text_length) return line;
  }
  return std::nullopt;
}

std::optional<std::vector<std::uint8_t>> decode_base32(std::string_view text) {
  std::vector<std::uint8_t> bytes;
  std::uint32_t window = 0;
  unsigned bits = 0;
  for (const char letter : text) {
    const auto value = alphabet.find(letter);
    if (value == std::string_view::npos) return std::nullopt;
    window = (window << 5U) | static_cast<std::uint32_t>(value);
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<std::uint8_t>((window >> bits) & 0xffU));
    }
  }
  return bytes;
}

std::string encode_base32(const std::vector<std::uint8_t>& bytes) {
  std::string text;
  std::uint32_t window = 0;
  unsigned bits = 0;
  for (const std::uint8_t byte : bytes) {
    window = (window << 8U) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(window >> bits) & 31U];
    }
  }
  if (bits > 0) text += alphabet[(window << (5 - bits)) & 31U];
  return text;
}

/// CRC-16/XMODEM.
std::uint16_t crc16(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t crc = 0;
  for (const std::uint8_t byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte) << 8U;
    for (int bit = 0; bit < 8; ++bit)
      crc = ((crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U) & 0xffffU;
  }
  return static_cast<std::uint16_t>(crc);
}

std::optional<std::array<std::uint8_t, key_bytes>> public_bytes(const std::uint8_t* secret) {
  const KeyPtr key{EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret, key_bytes), EVP_PKEY_free};
  std::array<std::uint8_t, key_bytes> bytes{};
  std::size_t length = bytes.size();
  if (!key || EVP_PKEY_get_raw_public_key(key.get(), bytes.data(), &length) != 1) return std::nullopt;
  return bytes;
}

}  // namespace

std::string nkey_public(const std::string& seed_file) {
  const auto seed = find_seed(seed_file);
  const auto bytes = seed ? decode_base32(*seed) : std::nullopt;
  const auto raw = bytes && bytes->size() >= 2 + key_bytes ? public_bytes(bytes->data() + 2) : std::nullopt;
  if (!raw)
    throw SettingError("NATS_NKEY=" + seed_file + ": takes a readable file with a user's nkey seed (SU…)");
  std::vector<std::uint8_t> encoded{user_prefix};
  encoded.insert(encoded.end(), raw->begin(), raw->end());
  const std::uint16_t crc = crc16(encoded);
  encoded.push_back(static_cast<std::uint8_t>(crc & 0xffU));
  encoded.push_back(static_cast<std::uint8_t>(crc >> 8U));
  return encode_base32(encoded);
}

void check_credentials(const std::string& file) {
  std::ifstream in{file};
  bool token = false;
  for (std::string line; std::getline(in, line);)
    token = token || line.find("BEGIN NATS USER JWT") != std::string::npos;
  if (!token || !find_seed(file))
    throw SettingError("NATS_CREDS: the credentials file " + file +
                       " cannot be used: takes a readable file with a user's JWT and seed (SU…)");
}

}  // namespace tidings
