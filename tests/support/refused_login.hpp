#pragma once

// What a connection says of a login that is refused.

#include "support/catch.hpp"
#include "support/wait.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <chrono>
#include <stop_token>
#include <string>
#include <thread>

namespace tidings::test {

/// What connecting says, where waiting would not help, and soon.
inline std::string refusal_while_waiting(const ConnectionOptions& options) {
  const auto begun = std::chrono::steady_clock::now();
  std::stop_source stop;
  std::jthread limit{[&stop](const std::stop_token& done) {
    (void)eventually(10s, [&done] { return done.stop_requested(); });
    stop.request_stop();
  }};
  auto told = error_of<NatsError>([&] { Connection connection{options, stop.get_token()}; });
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
  return told;
}

/// A single try says the same.
inline std::string refusal(const ConnectionOptions& options) {
  auto told = refusal_while_waiting(options);
  try {
    Connection connection{options};
    FAIL("connected");
  } catch (const NatsError& error) {
    CHECK_FALSE(error.retryable());
    CHECK(std::string{error.what()} == told);
  }
  return told;
}

/// What a connection says that is lost for good.
inline std::string end_of(const Connection& connection) {
  std::string told;
  REQUIRE_WITHIN(30s, [&] {
    try {
      connection.require_open();
    } catch (const NatsError& error) {
      told = error.retryable() ? "retryable" : error.what();
    }
    return !told.empty();
  }());
  return told;
}

}  // namespace tidings::test
