#include <tidings/backoff.hpp>

std::chrono::milliseconds third_delay() {
  const tidings::Backoff backoff{.base = std::chrono::milliseconds{100}, .max = std::chrono::seconds{10}};
  return backoff.delay(3, "event-7");  // 300 to 400 ms, always the same for this event
}
