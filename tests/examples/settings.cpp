#include <tidings/settings.hpp>

std::chrono::milliseconds poll_interval() {
  using std::chrono::milliseconds;
  return tidings::settings::milliseconds_or("POLL_MS", milliseconds{500}, milliseconds{10},
                                            std::chrono::hours{1});
}
