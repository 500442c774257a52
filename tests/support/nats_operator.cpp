#include "support/nats_operator.hpp"

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace tidings::test {
namespace {

using nlohmann::json;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t key_bytes = 32;

/// `bits` of each letter, the first first.
std::string encode(const Bytes& bytes, std::string_view alphabet, unsigned bits) {
  std::string text;
  std::uint32_t window = 0;
  unsigned held = 0;
  for (const auto byte : bytes) {
    window = (window << 8U) | byte;
    for (held += 8; held >= bits; held -= bits)
      text += alphabet[(window >> (held - bits)) & ((1U << bits) - 1)];
  }
  if (held > 0) text += alphabet[(window << (bits - held)) & ((1U << bits) - 1)];
  return text;
}

std::string base64url(std::string_view text) {
  return encode({text.begin(), text.end()},
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 6);
}

/// As nats-io/nkeys writes keys: base32 of a prefix, the key and a CRC-16.
std::string key_text(Bytes bytes) {
  std::uint32_t crc = 0;
  for (const auto byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte) << 8U;
    for (int bit = 0; bit < 8; ++bit)
      crc = ((crc & 0x8000U) != 0 ? (crc << 1U) ^ 0x1021U : crc << 1U) & 0xffffU;
  }
  bytes.push_back(static_cast<std::uint8_t>(crc & 0xffU));
  bytes.push_back(static_cast<std::uint8_t>(crc >> 8U));
  return encode(bytes, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5);
}

class SigningKey {
 public:
  enum class Kind : std::uint8_t { account = 0, operator_ = 14U << 3U, user = 20U << 3U };

  explicit SigningKey(Kind kind)
      : kind_(kind), key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free) {
    if (!key_) throw std::runtime_error("OpenSSL makes no ed25519 key");
  }

  /// `O…`, `A…` or `U…`, by its kind.
  [[nodiscard]] std::string public_text() const {
    return key_text(after({prefix()}, EVP_PKEY_get_raw_public_key));
  }
  [[nodiscard]] std::string seed_text() const {
    constexpr std::uint8_t seed = 18U << 3U;
    return key_text(after({static_cast<std::uint8_t>(seed | (prefix() >> 5U)),
                           static_cast<std::uint8_t>((prefix() & 31U) << 3U)},
                          EVP_PKEY_get_raw_private_key));
  }

  /// A token about `subject` that this key vouches for.
  [[nodiscard]] std::string sign(const std::string& subject, const json& nats,
                                 json claims = json::object()) const {
    const auto issued = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    claims.update({{"jti", "test"},
                   {"iat", issued},
                   {"iss", public_text()},
                   {"name", "test"},
                   {"sub", subject},
                   {"nats", nats}});
    const auto text =
        base64url(json{{"typ", "JWT"}, {"alg", "ed25519-nkey"}}.dump()) + "." + base64url(claims.dump());
    return text + "." + base64url(signature(text));
  }

 private:
  [[nodiscard]] std::uint8_t prefix() const { return static_cast<std::uint8_t>(kind_); }

  [[nodiscard]] Bytes after(Bytes bytes, int (*get)(const EVP_PKEY*, unsigned char*, std::size_t*)) const {
    const auto start = bytes.size();
    bytes.resize(start + key_bytes);
    auto length = key_bytes;
    if (get(key_.get(), bytes.data() + start, &length) != 1) throw std::runtime_error("OpenSSL gives no key");
    return bytes;
  }

  [[nodiscard]] std::string signature(const std::string& text) const {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
    std::string bytes(64, '\0');
    auto length = bytes.size();
    if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(bytes.data()), &length,
                       reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1)
      throw std::runtime_error("OpenSSL does not sign");
    return bytes;
  }

  Kind kind_;
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

json account_claims(bool jetstream) {
  json limits{{"subs", -1},    {"data", -1},        {"payload", -1}, {"imports", -1},
              {"exports", -1}, {"wildcards", true}, {"conn", -1},    {"leaf", -1}};
  if (jetstream)
    limits.update({{"mem_storage", -1}, {"disk_storage", -1}, {"streams", -1}, {"consumer", -1}});
  return {{"type", "account"}, {"version", 2}, {"limits", limits}};
}

}  // namespace

struct NatsOperator::Keys {
  SigningKey self{SigningKey::Kind::operator_}, system{SigningKey::Kind::account},
      account{SigningKey::Kind::account};
};

NatsOperator::NatsOperator() : keys_(std::make_unique<Keys>()) {}
NatsOperator::~NatsOperator() = default;

std::string NatsOperator::config() const {
  const auto& [self, system, account] = *keys_;
  const auto preload = [&self = self](const SigningKey& key, bool jetstream) {
    return key.public_text() + ": " + self.sign(key.public_text(), account_claims(jetstream)) + "\n";
  };
  return "operator: " +
         self.sign(self.public_text(),
                   {{"type", "operator"}, {"version", 2}, {"system_account", system.public_text()}}) +
         "\nsystem_account: " + system.public_text() + "\nresolver: MEMORY\nresolver_preload: {\n" +
         preload(system, false) + preload(account, true) + "}\n";
}

std::string NatsOperator::credentials(std::optional<std::chrono::system_clock::time_point> expires) const {
  const SigningKey user{SigningKey::Kind::user};
  json claims = json::object();
  if (expires) claims["exp"] = std::chrono::system_clock::to_time_t(*expires);
  const json nats{{"type", "user"}, {"version", 2}, {"pub", json::object()}, {"sub", json::object()},
                  {"subs", -1},     {"data", -1},   {"payload", -1}};
  return "-----BEGIN NATS USER JWT-----\n" + keys_->account.sign(user.public_text(), nats, claims) +
         "\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n" + user.seed_text() +
         "\n------END USER NKEY SEED------\n";
}

}  // namespace tidings::test
