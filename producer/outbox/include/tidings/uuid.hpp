#pragma once

#include <tidings/timestamp.hpp>

#include <string>

namespace tidings {

/// A UUIDv7 (RFC 9562): ordered by time down to the order of the calls of one process, which
/// keeps index inserts at the right edge of the tree. Thread-safe.
[[nodiscard]] std::string new_uuid(Timestamp time = now());

}  // namespace tidings
