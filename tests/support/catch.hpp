#pragma once

// Catch2 as the tests see it: version 2 (Debian 12) and version 3 (Debian 13)
// under the same names.

#include <stdexcept>
#include <string>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

namespace tidings::test {

#if __has_include(<catch2/catch_all.hpp>)
using Catch::Matchers::ContainsSubstring;
#else
inline auto ContainsSubstring(const std::string& text) { return Catch::Matchers::Contains(text); }
#endif

/// What the `Expected` error says that `action` throws. When it throws nothing or another error, that
/// comes out as an exception and fails the test.
template <class Expected, class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Expected& error) {
    return error.what();
  }
  throw std::logic_error("an error was expected, and nothing was thrown");
}

}  // namespace tidings::test
