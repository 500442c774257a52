#include "nats/server_url.hpp"

#include "redacted_url.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace tidings {
namespace {

struct ServerUrl {
  std::string scheme;  ///< with ://, or empty
  std::string login;   ///< as it is written, without the @
  bool has_login = false;
  std::string server;  ///< host, port and what follows
};

ServerUrl split(const std::string& url) {
  ServerUrl parts;
  const auto scheme = url.find("://");
  const auto begin = scheme == std::string::npos ? 0 : scheme + 3;
  parts.scheme = url.substr(0, begin);
  const auto at = url.rfind('@');
  parts.has_login = at != std::string::npos && at >= begin;
  if (parts.has_login) parts.login = url.substr(begin, at - begin);
  parts.server = url.substr(parts.has_login ? at + 1 : begin);
  return parts;
}

bool is_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port > 0 && port <= 65535;
}

bool is_server(const std::string& server) {
  const auto authority = std::string_view{server}.substr(0, server.find_first_of("/?"));
  const auto bracket = authority.rfind(']');  // of an IPv6 address
  const auto colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const auto host = authority.substr(0, colon);
  return !host.empty() && host.find(' ') == std::string_view::npos &&
         (colon == std::string_view::npos || is_port(authority.substr(colon + 1)));
}

std::optional<char> encoded(std::string_view text) {
  unsigned value = 0;
  if (text.size() < 3 || text[0] != '%') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data() + 1, text.data() + 3, value, 16);
  const bool whole = error == std::errc{} && end == text.data() + 3;
  return whole && value > 0 ? std::optional{static_cast<char>(value)} : std::nullopt;
}

/// A % that begins no such sequence stands for itself.
std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto letter = encoded(text.substr(i, 3));
    plain += letter.value_or(text[i]);
    if (letter) i += 2;
  }
  return plain;
}

}  // namespace

void require_server_urls(const std::vector<std::string>& urls) {
  for (const auto& url : urls) {
    const auto [scheme, login, has_login, server] = split(url);
    const bool known = scheme.empty() || scheme == "nats://" || scheme == "tls://";
    if (!known || !is_server(server))
      throw SettingError("NATS_URL=" + redacted_url(url) +
                         ": takes nats://HOST:PORT or tls://HOST:PORT, several with commas");
  }
}

ConnectionOptions with_decoded_login(ConnectionOptions options) {
  std::vector<std::string> logins;
  for (const auto& url : options.urls)
    if (const auto parts = split(url); parts.has_login) logins.push_back(parts.login);
  if (std::ranges::none_of(logins, [](const auto& login) { return login.find('%') != std::string::npos; }))
    return options;
  if (std::ranges::any_of(logins, [&](const auto& login) { return login != logins.front(); }))
    throw SettingError(
        "NATS_URL: its servers have different logins with percent-encoded letters: takes one login for all of them");
  for (auto& url : options.urls) {
    const auto parts = split(url);
    url = parts.scheme + parts.server;
  }
  const auto& login = logins.front();
  const auto colon = login.find(':');
  const auto name = decoded(login.substr(0, colon));
  const bool is_token = colon == std::string::npos;
  options.user = is_token ? "" : name;
  options.password = is_token ? "" : decoded(login.substr(colon + 1));
  options.token = is_token ? name : "";
  return options;
}

}  // namespace tidings
