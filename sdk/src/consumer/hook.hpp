#pragma once

#include <spdlog/spdlog.h>

#include <atomic>
#include <exception>
#include <functional>
#include <utility>

namespace tidings {

/// A function that the user has given us to be told of something. What it throws does not reach the engine;
/// the first time, it is logged.
template <class... Args>
class Hook {
 public:
  Hook(const char* name, std::function<void(Args...)> function)
      : name_(name), function_(std::move(function)) {}

  explicit operator bool() const noexcept { return function_ != nullptr; }

  void operator()(Args... args) const noexcept {
    if (!function_) return;
    try {
      function_(args...);
    } catch (const std::exception& error) {
      log(error.what());
    } catch (...) {
      log("something that is not a std::exception");
    }
  }

 private:
  void log(const char* thrown) const noexcept {
    if (!logged_.exchange(true))
      spdlog::error("{} has thrown: {}; the consumer goes on, and this is not logged again", name_, thrown);
  }

  const char* const name_;
  const std::function<void(Args...)> function_;
  mutable std::atomic<bool> logged_{false};
};

}  // namespace tidings
