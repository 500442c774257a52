#include <tidings/stream.hpp>

void prepare(tidings::Connection& connection) {
  tidings::ensure_stream(connection, {.name = "SHOP_EVENTS", .subjects = {"shop.events.>"}, .replicas = 3});
}
