#pragma once

// Verbs for tests of what is decoded to an event.

#include "support/catch.hpp"

#include <tidings/event.hpp>

#include <string>
#include <string_view>

namespace tidings::test {

/// What decoding says is wrong.
inline std::string complaint(const Headers& headers, std::string_view payload = "{}") {
  return error_of<Undecodable>([&] { (void)tidings::decode(headers, payload); });
}

/// Of a message that is a whole document.
inline const Headers structured{{"content-type", "application/cloudevents+json"}};

}  // namespace tidings::test
