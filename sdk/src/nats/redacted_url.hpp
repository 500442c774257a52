#pragma once

#include <string>

namespace tidings {

/// A URL as errors and logs show it: scheme, hosts and path. User info and parameters may hold a password;
/// where it is not clear what is what, only the scheme is left.
[[nodiscard]] std::string redacted_url(const std::string& url);

}  // namespace tidings
