#include "http/listener.hpp"

#include <tidings/error.hpp>
#include <tidings/http_options.hpp>
#include <tidings/settings.hpp>

#include <algorithm>
#include <fstream>
#include <optional>
#include <utility>

namespace tidings {
namespace {

/// The file's first line. It is not quoted in an error: it is a secret.
std::string read_token(const std::string& path) {
  std::ifstream file{path};
  std::string token;
  if (!std::getline(file, token) || token.empty())
    throw SettingError("TIDINGS_HTTP_TOKEN_FILE=" + path + ": takes a file whose first line is the token");
  return token;
}

void require_sendable(const std::string& token) {
  const auto printable = [](char letter) { return letter > ' ' && letter <= '~'; };
  if (!std::ranges::all_of(token, printable))
    throw SettingError("TIDINGS_HTTP_TOKEN: takes printable ASCII without spaces");
}

std::string token_from_environment() {
  const auto token = settings::text("TIDINGS_HTTP_TOKEN");
  const auto file = settings::text("TIDINGS_HTTP_TOKEN_FILE");
  if (token && file) throw SettingError("set TIDINGS_HTTP_TOKEN or TIDINGS_HTTP_TOKEN_FILE, not both");
  auto given = file ? read_token(*file) : token.value_or("");
  require_sendable(given);
  return given;
}

}  // namespace

HttpOptions HttpOptions::from_environment(std::string listen) {
  using std::chrono::milliseconds;
  constexpr milliseconds shortest{100}, longest{std::chrono::hours{24 * 365}};
  HttpOptions options{.listen = std::move(listen), .token = token_from_environment()};
  auto& limits = options.limits;
  limits.stalled_after =
      settings::milliseconds_or("TIDINGS_HTTP_STALLED_AFTER_MS", limits.stalled_after, shortest, longest);
  limits.backlog_age =
      settings::milliseconds_or("TIDINGS_HTTP_BACKLOG_AGE_MS", limits.backlog_age, shortest, longest);
  return options;
}

void HttpOptions::validate() const {
  const auto address = Address::parse(listen);
  require_sendable(token);
  if (token.empty() && !address.is_loopback())
    throw SettingError(
        "--http=" + listen +
        ": others can reach this address: set TIDINGS_HTTP_TOKEN or TIDINGS_HTTP_TOKEN_FILE, or "
        "listen on 127.0.0.1");
}

}  // namespace tidings
