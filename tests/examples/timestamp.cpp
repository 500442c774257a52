#include <tidings/timestamp.hpp>

bool survives_the_wire(tidings::Timestamp time) {
  return tidings::parse_timestamp(tidings::to_iso8601(time)) == time;
}
