#include "nats/connection_options.hpp"

#include "nats/handle.hpp"
#include "nats/nkey.hpp"
#include "nats/server_url.hpp"
#include "nats/subject.hpp"
#include "redacted_url.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <algorithm>
#include <sstream>
#include <vector>

namespace tidings {
namespace {

std::vector<std::string> split_urls(const std::string& list) {
  std::vector<std::string> urls;
  std::istringstream parts{list};
  for (std::string url; std::getline(parts, url, ',');) {
    url.erase(0, url.find_first_not_of(' '));
    url.erase(url.find_last_not_of(' ') + 1);
    if (!url.empty()) urls.push_back(url);
  }
  return urls;
}

void apply_login(const ConnectionOptions& options, natsOptions* target) {
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

void apply_tls(const ConnectionOptions& options, natsOptions* target) {
  const auto is_tls = [](const std::string& url) { return url.starts_with("tls://"); };
  if (options.ca_file.empty() && options.cert_file.empty() && std::ranges::none_of(options.urls, is_tls))
    return;
  check(natsOptions_SetSecure(target, true), "turn TLS on");
  if (!options.ca_file.empty())
    check(natsOptions_LoadCATrustedCertificates(target, options.ca_file.c_str()),
          "load NATS_CA " + options.ca_file);
  if (!options.cert_file.empty())
    check(natsOptions_LoadCertificatesChain(target, options.cert_file.c_str(), options.key_file.c_str()),
          "load NATS_CERT " + options.cert_file + " and NATS_KEY " + options.key_file);
}

}  // namespace

ConnectionOptions ConnectionOptions::from_environment() {
  using settings::text_or;
  ConnectionOptions options;
  if (const auto list = settings::text("NATS_URL")) {
    options.urls = split_urls(*list);
    if (options.urls.empty())
      throw SettingError("NATS_URL=" + *list + ": takes nats://HOST:PORT, several with commas");
    require_server_urls(options.urls);
  } else {
    options.urls = {"nats://" + text_or("NATS_HOST", "localhost") + ":" +
                    std::to_string(settings::integer_or("NATS_PORT", 4222, 1, 65535))};
  }
  options.credentials_file = text_or("NATS_CREDS", "");
  options.nkey_seed_file = text_or("NATS_NKEY", "");
  options.user = text_or("NATS_USER", "");
  options.password = text_or("NATS_PASSWORD", "");
  options.token = text_or("NATS_TOKEN", "");
  options.inbox_prefix = text_or("NATS_INBOX_PREFIX", options.inbox_prefix);
  if (!is_literal_subject(options.inbox_prefix))
    throw SettingError("NATS_INBOX_PREFIX=" + options.inbox_prefix +
                       ": takes a subject without wildcards, _INBOX_relay for example");
  options.jetstream_domain = text_or("NATS_JS_DOMAIN", "");
  options.jetstream_api_prefix = text_or("NATS_JS_API_PREFIX", "");
  (void)jetstream_prefix(options);
  options.ca_file = text_or("NATS_CA", "");
  options.cert_file = text_or("NATS_CERT", "");
  options.key_file = text_or("NATS_KEY", "");
  if (options.cert_file.empty() != options.key_file.empty())
    throw SettingError("NATS_CERT and NATS_KEY go together: set both or neither");
  return options;
}

void apply(const ConnectionOptions& options, natsOptions* target) {
  require_server_urls(options.urls);  // nats.c would wait for a server of another kind
  std::vector<const char*> urls;
  for (const auto& url : options.urls) urls.push_back(url.c_str());
  check(natsOptions_SetServers(target, urls.data(), static_cast<int>(urls.size())),
        "use the servers " + redacted_urls(options.urls));
  check(natsOptions_SetName(target, options.name.empty() ? "tidings" : options.name.c_str()),
        "name the connection");
  check(natsOptions_SetCustomInboxPrefix(target, options.inbox_prefix.c_str()),
        "use NATS_INBOX_PREFIX " + options.inbox_prefix);
  check(natsOptions_SetTimeout(target, options.connect_timeout.count()), "set the connect timeout");
  apply_login(options, target);
  apply_tls(options, target);
}

std::string jetstream_prefix(const ConnectionOptions& options) {
  const auto& domain = options.jetstream_domain;
  const auto& prefix = options.jetstream_api_prefix;
  if (!domain.empty() && !prefix.empty())
    throw SettingError("NATS_JS_DOMAIN=" + domain + " and NATS_JS_API_PREFIX=" + prefix +
                       " exclude each other: set the one or the other");
  if (!prefix.empty()) {
    if (!is_literal_subject(prefix))
      throw SettingError("NATS_JS_API_PREFIX=" + prefix +
                         ": takes a subject without wildcards, JS.other.API for example");
    return prefix;
  }
  if (domain.empty()) return "$JS.API";
  if (!is_literal_subject(domain) || domain.find('.') != std::string::npos)
    throw SettingError("NATS_JS_DOMAIN=" + domain +
                       ": takes the name of a JetStream domain, without dots, wildcards and spaces");
  return "$JS." + domain + ".API";
}

std::string login_method(const ConnectionOptions& options) {
  if (!options.credentials_file.empty()) return "credentials file " + options.credentials_file;
  if (!options.nkey_seed_file.empty()) return "nkey seed file " + options.nkey_seed_file;
  if (!options.user.empty()) return "user " + options.user + " and password";
  if (!options.token.empty()) return "token";
  return "no login (or the one in the URL)";
}

std::string tls_refusal(const ConnectionOptions& options, const std::string& why) {
  return "cannot connect to NATS at " + redacted_urls(options.urls) + ": " + why + "; tried TLS with " +
         (options.ca_file.empty() ? "the CAs of the system (NATS_CA is not set)"
                                  : "NATS_CA " + options.ca_file) +
         " and " +
         (options.cert_file.empty() ? "no client certificate (NATS_CERT is not set)"
                                    : "client certificate " + options.cert_file);
}

}  // namespace tidings
