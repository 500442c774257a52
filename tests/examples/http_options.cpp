#include <tidings/http_options.hpp>

tidings::HttpOptions patient(const std::string& listen) {
  auto options = tidings::HttpOptions::from_environment(listen);
  options.limits.stalled_after = std::chrono::seconds{30};
  return options;
}
