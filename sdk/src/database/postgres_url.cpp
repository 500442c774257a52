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
      "the PostgreSQL URL cannot be read: takes postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
      "percent-encode "
      "special characters in user and password (@ is %40, / is %2F, % is %25), and give parameters of "
      "libpq's or "
      "Prisma's only");
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

std::string encode_parameter(const std::string& parameter) {
  const auto value = std::min(parameter.find('='), parameter.size() - 1) + 1;
  return parameter.substr(0, value) + encode_value(parameter.substr(value));
}

bool is_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return text.empty() || (error == std::errc{} && end == text.data() + text.size() && port > 0);
}

/// libpq looks at the ports when it connects only, and then tells what else it has found there.
bool are_ports(std::string_view list) {
  for (;;) {
    const auto comma = list.find(',');
    if (!is_port(list.substr(0, comma))) return false;
    if (comma == list.npos) return true;
    list.remove_prefix(comma + 1);
  }
}

void require_readable(const std::string& url) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options{
      PQconninfoParse(url.c_str(), nullptr), PQconninfoFree};
  if (!options) refuse();
  for (const auto* option = options.get(); option->keyword != nullptr; ++option)
    if (option->keyword == std::string_view{"port"} && option->val != nullptr && !are_ports(option->val))
      refuse();
}

std::string decode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    std::uint8_t byte = 0;
    const auto digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (error != std::errc{} || digits.size() != 2 || end != digits.data() + 2 || byte == 0) refuse();
    decoded += static_cast<char>(byte);
    i += 2;
  }
  return decoded;
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

/// As a name that is not folded to lower case, for a session's options, which end at a blank.
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
    constexpr std::array prismas{"connection_limit", "pool_timeout",   "pgbouncer",           "sslidentity",
                                 "sslpassword",      "socket_timeout", "statement_cache_size"};
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
      add(kept, "&", encode_parameter(one));
  }
  if (strict && mode != "verify-ca") mode = "verify-full";
  if (!mode.empty()) add(kept, "&", "sslmode=" + mode);
  if (!certificate.empty()) add(kept, "&", (has_key || has_root ? "sslcert=" : "sslrootcert=") + certificate);
  if (!parsed.schema.empty()) add(options, "%20", encode(search_path(parsed.schema)));
  if (!options.empty()) add(kept, "&", "options=" + options);
  parsed.for_libpq = url.substr(0, begin) + (kept.empty() ? "" : "?" + kept);
  require_readable(parsed.for_libpq);
  return parsed;
}

}  // namespace tidings
