#include "database/postgres_url.hpp"

#include <tidings/error.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string_view>

namespace tidings {
namespace {

[[noreturn]] void refuse() {
  throw SettingError(
      "the PostgreSQL URL cannot be read: takes postgresql://USER:PASSWORD@HOST:PORT/DATABASE; percent-encode "
      "special characters in user and password (@ is %40, / is %2F, % is %25), and give only parameters that "
      "libpq or Prisma knows");
}

/// Where the parameters begin. Throws when a special character of user or password is not encoded so that
/// libpq would take what follows it for a host or a database.
std::size_t end_of_path(const std::string& url) {
  if (!url.starts_with("postgresql://") && !url.starts_with("postgres://")) refuse();
  const auto begin = url.find("://") + 3;
  const auto login = url.find_first_of("@/", begin);  // as libpq looks for it
  const auto host = login != std::string::npos && url[login] == '@' ? login + 1 : begin;
  const auto end = std::min(url.find('?', host), url.size());
  if (url.find('@', host) < end) refuse();
  return end;
}

/// libpq takes a value with blanks and further `=` only when they are encoded: `options=-c lock_timeout=1s`.
std::string encode_value(std::string_view value) {
  std::string encoded;
  for (const char letter : value)
    encoded += letter == ' ' ? "%20" : letter == '=' ? "%3D" : std::string(1, letter);
  return encoded;
}

/// libpq looks at the ports only when it connects, and its error then shows what else it has found there.
bool are_ports(std::string_view list) {
  for (;;) {
    const auto text = list.substr(0, list.find(','));
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool is_port = error == std::errc{} && end == text.data() + text.size() && port > 0;
    if (!is_port && !text.empty()) return false;
    if (text.size() == list.size()) return true;
    list.remove_prefix(text.size() + 1);
  }
}

/// One of the URL's parameters as libpq reads it; empty when it is not there.
std::string read_parameter(const std::string& url, std::string_view name) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options{
      PQconninfoParse(url.c_str(), nullptr), PQconninfoFree};
  if (!options) refuse();
  for (const auto* option = options.get(); option->keyword != nullptr; ++option)
    if (option->keyword == name && option->val != nullptr) return option->val;
  return {};
}

std::string decode(const std::string& value) {
  return read_parameter("postgresql://?options=" + encode_value(value), "options");
}

std::string encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string encoded;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    encoded += {'%', digits[byte >> 4U], digits[byte & 0xfU]};
  }
  return encoded;
}

/// The schema as a name that is not folded to lower case, for a session's options, which end at a blank.
std::string search_path(const std::string& schema) {
  std::string option = "-csearch_path=\"";
  for (const char letter : schema) {
    if (letter == '"') option += '"';
    if (letter == '\\' || std::isspace(static_cast<unsigned char>(letter)) != 0) option += '\\';
    option += letter;
  }
  return option + '"';
}

}  // namespace

/// libpq refuses parameters that it does not know. Prisma's `schema` becomes the search path,
/// `sslaccept=strict` a check of the server's certificate, and its `sslcert`, which is the server's CA unless
/// there is a key, libpq's `sslrootcert`. The others tell about Prisma's own pool and engine.
PostgresUrl PostgresUrl::parse(const std::string& url) {
  PostgresUrl parsed;
  const auto begin = end_of_path(url);
  std::string kept, options, mode, certificate;
  bool strict = false, has_key = false, has_root = false;
  const auto add = [](std::string& list, const char* separator, const std::string& one) {
    if (!one.empty()) list += (list.empty() ? "" : separator) + one;
  };
  for (auto at = begin; at != std::string::npos && at + 1 < url.size();) {
    const auto end = url.find('&', at + 1);
    const auto one = url.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    at = end;
    const auto name = one.substr(0, one.find('='));
    const auto value = one.substr(std::min(one.size(), name.size() + 1));
    constexpr std::array prismas{"connection_limit",
                                 "max_connection_lifetime",
                                 "max_idle_connection_lifetime",
                                 "pgbouncer",
                                 "pool_timeout",
                                 "single_use_connections",
                                 "socket_timeout",
                                 "sslidentity",
                                 "sslpassword",
                                 "statement_cache_size",
                                 "uselibpqcompat"};
    if (std::find(prismas.begin(), prismas.end(), name) != prismas.end()) continue;
    has_key = has_key || name == "sslkey";
    has_root = has_root || name == "sslrootcert";
    if (name == "sslaccept")
      strict = value == "strict";
    else if (name == "sslmode")
      mode = encode_value(value);
    else if (name == "sslcert")
      certificate = encode_value(value);
    else if (name == "schema")
      parsed.schema = decode(value);
    else if (name == "options")
      add(options, "%20", encode_value(value));
    else
      add(kept, "&", value.empty() ? one : name + "=" + encode_value(value));
  }
  if (strict && mode != "verify-ca") mode = "verify-full";
  if (!mode.empty()) add(kept, "&", "sslmode=" + mode);
  if (!certificate.empty()) add(kept, "&", (has_key || has_root ? "sslcert=" : "sslrootcert=") + certificate);
  if (!parsed.schema.empty()) add(options, "%20", encode(search_path(parsed.schema)));
  if (!options.empty()) add(kept, "&", "options=" + options);
  parsed.for_libpq = url.substr(0, begin) + (kept.empty() ? "" : "?" + kept);
  if (!are_ports(read_parameter(parsed.for_libpq, "port"))) refuse();
  return parsed;
}

}  // namespace tidings
