#include "postgres_url.hpp"

#include <tidings/error.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

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
std::string encode_value(const std::string& parameter) {
  const auto value = std::min(parameter.find('='), parameter.size() - 1) + 1;
  auto encoded = parameter.substr(0, value);
  for (const char letter : parameter.substr(value))
    encoded += letter == ' ' ? "%20" : letter == '=' ? "%3D" : std::string(1, letter);
  return encoded;
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

}  // namespace

/// libpq refuses parameters that it does not know. Prisma's `schema` becomes the search path, its others tell
/// about Prisma's own pool and engine.
PostgresUrl PostgresUrl::parse(const std::string& url) {
  const auto begin = end_of_path(url);
  auto kept = url.substr(0, begin);
  char separator = '?';
  for (auto at = begin; at != std::string::npos && at + 1 < url.size();) {
    const auto end = url.find('&', at + 1);
    auto one = url.substr(at + 1, end == std::string::npos ? end : end - at - 1);
    at = end;
    const auto name = one.substr(0, one.find('='));
    bool known = true;
    for (const auto* prisma : {"connection_limit", "pool_timeout", "pgbouncer", "sslaccept", "sslidentity",
                               "sslpassword", "socket_timeout", "statement_cache_size"})
      known = known && name != prisma;
    if (name == "schema")
      one = "options=-csearch_path%3D" + one.substr(std::min(one.size(), name.size() + 1));
    if (!known || one.empty()) continue;
    kept += separator + encode_value(one);
    separator = '&';
  }
  require_readable(kept);
  return {kept};
}

}  // namespace tidings
