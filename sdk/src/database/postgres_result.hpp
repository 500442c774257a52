#pragma once

// What a result of libpq says of an error.

#include <libpq-fe.h>

#include <string>

namespace tidings {

[[nodiscard]] std::string one_line(std::string text);
[[nodiscard]] std::string sqlstate(const PGresult* result);

}  // namespace tidings
