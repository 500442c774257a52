#pragma once

#include <string>
#include <vector>

namespace tidings {

/// A URL as errors and logs show it: scheme, hosts and path. User info and parameters may hold a password;
/// where it is not clear which part they are, only the scheme is left.
[[nodiscard]] std::string redacted_url(const std::string& url);

/// The same for several, with commas between them.
[[nodiscard]] std::string redacted_urls(const std::vector<std::string>& urls);

}  // namespace tidings
