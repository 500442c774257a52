#include "retry_loop.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace tidings {

void pause(const std::stop_token& stop, std::chrono::milliseconds duration) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, stop, duration, [] { return false; });
}

bool retry(const std::stop_token& stop, const std::function<void()>& work,
           const std::function<void(const Error&)>& failed) {
  constexpr std::chrono::milliseconds first_pause{50}, longest_pause{1000};
  for (auto delay = first_pause;; delay = std::min(delay * 2, longest_pause)) {
    try {
      work();
      return true;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      failed(error);
    }
    pause(stop, delay);
    if (stop.stop_requested()) return false;
  }
}

}  // namespace tidings
