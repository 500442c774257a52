#include "nats/login.hpp"

#include "nats/handle.hpp"
#include "nats/nkey.hpp"
#include "redacted_url.hpp"

#include <algorithm>

namespace tidings {
namespace {

bool wants_tls(const ConnectionOptions& options) {
  return !options.ca_file.empty() || !options.cert_file.empty() ||
         std::any_of(options.urls.begin(), options.urls.end(),
                     [](const std::string& url) { return url.starts_with("tls://"); });
}

/// For error texts: what TLS was tried with.
std::string tls_method(const ConnectionOptions& options) {
  return "TLS with " +
         (options.ca_file.empty() ? "the CAs of the system (NATS_CA is not set)"
                                  : "NATS_CA " + options.ca_file) +
         " and " +
         (options.cert_file.empty() ? "no client certificate (NATS_CERT is not set)"
                                    : "client certificate " + options.cert_file);
}

}  // namespace

void apply_login(natsOptions* target, const ConnectionOptions& options) {
  if (!options.credentials_file.empty()) {
    check_credentials(options.credentials_file);
    check(natsOptions_SetUserCredentialsFromFiles(target, options.credentials_file.c_str(), nullptr),
          "use credentials file " + options.credentials_file);
  } else if (!options.nkey_seed_file.empty()) {
    check(natsOptions_SetNKeyFromSeed(target, nkey_public(options.nkey_seed_file).c_str(),
                                      options.nkey_seed_file.c_str()),
          "use nkey seed file " + options.nkey_seed_file);
  } else if (!options.user.empty()) {
    check(natsOptions_SetUserInfo(target, options.user.c_str(), options.password.c_str()), "use NATS_USER");
  } else if (!options.token.empty()) {
    check(natsOptions_SetToken(target, options.token.c_str()), "use NATS_TOKEN");
  }
}

void apply_tls(natsOptions* target, const ConnectionOptions& options) {
  if (!wants_tls(options)) return;
  check(natsOptions_SetSecure(target, true), "turn TLS on");
  if (!options.ca_file.empty())
    check(natsOptions_LoadCATrustedCertificates(target, options.ca_file.c_str()),
          "load NATS_CA " + options.ca_file);
  if (!options.cert_file.empty())
    check(natsOptions_LoadCertificatesChain(target, options.cert_file.c_str(), options.key_file.c_str()),
          "load NATS_CERT " + options.cert_file + " and NATS_KEY " + options.key_file);
}

bool signs(const ConnectionOptions& options) {
  return !options.credentials_file.empty() || !options.nkey_seed_file.empty();
}

std::string login_method(const ConnectionOptions& options) {
  if (!options.credentials_file.empty()) return "credentials file " + options.credentials_file;
  if (!options.nkey_seed_file.empty()) return "nkey seed file " + options.nkey_seed_file;
  if (!options.user.empty()) return "user " + options.user + " and password";
  if (!options.token.empty()) return "token";
  return "no login (or the one in the URL)";
}

std::string tls_refusal(const ConnectionOptions& options, const std::string& why) {
  return "cannot connect to NATS at " + redacted_urls(options.urls) + ": " + why + "; tried was " +
         tls_method(options);
}

}  // namespace tidings
