#pragma once

namespace tidings::test {

/// AddressSanitizer and ThreadSanitizer bring a malloc of their own, and take memory for themselves: what a
/// process uses says nothing there of what the code uses, and code that looks at each byte takes minutes.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool memory_is_measured = false;
#else
inline constexpr bool memory_is_measured = true;
#endif

}  // namespace tidings::test
