#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace tidings {

/// A URL as errors and logs show it: scheme, hosts and path. User info and parameters may hold a password;
/// where it is not clear which part they are, only the scheme is left.
[[nodiscard]] inline std::string redacted_url(const std::string& url) {
  const auto scheme = url.find("://");
  const auto begin = scheme == std::string::npos ? 0 : scheme + 3;
  const auto end = std::min(url.find('?', begin), url.size());
  // An @ behind the ? may end a password that contains a ?: then a part of it stands before the ?.
  if (url.find('@', end) != std::string::npos) return url.substr(0, begin) + "…";
  const auto at = url.rfind('@', end);
  const auto host = at == std::string::npos || at < begin ? begin : at + 1;
  return url.substr(0, begin) + url.substr(host, end - host);
}

/// The same for several, with commas between them.
[[nodiscard]] inline std::string redacted_urls(const std::vector<std::string>& urls) {
  std::string list;
  for (const auto& url : urls) list += (list.empty() ? "" : ", ") + redacted_url(url);
  return list;
}

}  // namespace tidings
