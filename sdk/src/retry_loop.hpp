#pragma once

// How Tidings waits for what is away: one pause that a stop ends, and one loop that
// tries again, soon at first and then once a second.

#include <tidings/error.hpp>

#include <chrono>
#include <functional>
#include <stop_token>

namespace tidings {

/// Waits for `duration` or until a stop is requested.
void pause(const std::stop_token& stop, std::chrono::milliseconds duration);

/// Calls `work` until it ends without a retryable error, once at least; `failed` is told each of these. Other
/// errors pass through. False when a stop was requested before it succeeded.
[[nodiscard]] bool retry(const std::stop_token& stop, const std::function<void()>& work,
                         const std::function<void(const Error&)>& failed);

}  // namespace tidings
