#include <tidings/event.hpp>

std::string id_after_the_wire(const tidings::Event& event) {
  const auto [headers, payload] = tidings::encode(event);  // CloudEvents in NATS's binary mode
  return tidings::decode(headers, payload).id;
}
