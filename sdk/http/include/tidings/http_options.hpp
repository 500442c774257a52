#pragma once

// Where health and metrics are served, and who may ask for them.

#include <tidings/monitor_report.hpp>

#include <string>

namespace tidings {

struct HttpOptions {
  std::string listen{};  ///< `HOST:PORT` or `[V6]:PORT`; port 0 takes a free one
  /// What each request has to bring, as `Authorization: Bearer TOKEN`. Empty: nothing, for loopback only.
  std::string token{};
  HealthLimits limits{};

  /// TIDINGS_HTTP_TOKEN or TIDINGS_HTTP_TOKEN_FILE, TIDINGS_HTTP_STALLED_AFTER_MS and
  /// TIDINGS_HTTP_BACKLOG_AGE_MS. Throws SettingError naming the variable.
  [[nodiscard]] static HttpOptions from_environment(std::string listen);

  /// Throws SettingError for an address that cannot be read, and for one beyond loopback without a token.
  void validate() const;
};

}  // namespace tidings
