#include <tidings/delivery.hpp>

void handle(const tidings::Delivery& delivery) {
  if (delivery.event.version > 1) throw tidings::Reject{"unknown version"};                // dead letter now
  if (delivery.attempt == 1) throw tidings::RetryAfter{std::chrono::seconds{30}, "busy"};  // again in 30 s
  if (delivery.headers.empty()) throw tidings::Unavailable{"mail API", std::chrono::seconds{30}};  // pauses
}
