#pragma once

// The URL of a service's PostgreSQL, which may be one of Prisma's, for libpq.

#include <string>

namespace tidings {

struct PostgresUrl {
  std::string for_libpq;
  std::string schema;  ///< Prisma's, for the search path; empty when it names none

  /// Throws SettingError for what libpq cannot read. Its words leave out every part of the URL: a character
  /// of the password that is not encoded makes a piece of it the host, the port, the database or a parameter.
  [[nodiscard]] static PostgresUrl parse(const std::string& url);
};

}  // namespace tidings
