#include "retry_loop.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{1000};

}  // namespace

void pause(const std::stop_token& stop, milliseconds duration) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, stop, duration, [] { return false; });
}

bool retry(const std::stop_token& stop, const std::function<void()>& work,
           const std::function<void(const Error&)>& failed) {
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
