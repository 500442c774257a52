#pragma once

// What libpq says about an error.

#include <libpq-fe.h>

#include <string>

namespace tidings {

/// libpq's messages end in a newline and may have several lines.
[[nodiscard]] std::string one_line(std::string text);
/// Empty when the result is not an error.
[[nodiscard]] std::string sqlstate(const PGresult* result);

}  // namespace tidings
