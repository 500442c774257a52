#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace tidings {

/// A stop takes so long at most, whatever the work that it ends is waiting for: `give_up` is called once that
/// time has passed, and then each second until this is destroyed. It runs on a thread of its own, and must
/// not throw.
class StopDeadline {
 public:
  StopDeadline(std::stop_token stop, std::chrono::milliseconds time, std::function<void()> give_up)
      : stop_(std::move(stop)), time_(time), give_up_(std::move(give_up)) {}

 private:
  void watch(const std::stop_token& over) {
    constexpr std::chrono::seconds again{1};
    std::unique_lock lock{mutex_};
    changed_.wait(lock, over, [this] { return stop_.stop_requested(); });
    const auto wait_for = [&](std::chrono::milliseconds time) {
      return changed_.wait_for(lock, over, time, [&over] { return over.stop_requested(); });
    };
    for (bool is_over = wait_for(time_); !is_over; is_over = wait_for(again)) give_up_();
  }

  const std::stop_token stop_;
  const std::chrono::milliseconds time_;
  const std::function<void()> give_up_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_{[this](const std::stop_token& over) { watch(over); }};
  std::stop_callback<std::function<void()>> stopped_{stop_, [this] {
                                                       const std::lock_guard lock{mutex_};
                                                       changed_.notify_all();
                                                     }};
};

}  // namespace tidings
