#pragma once

// What other threads ask of a consumer: to stop, to pause, to go on. A pause ends the session, which gives
// back what it has; going on begins another.

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

namespace tidings {

/// Thread-safe.
class RunControl {
 public:
  /// Ends the current run, or else the next one.
  void stop() { end_session_for(stopped_); }
  void pause() { end_session_for(paused_); }
  void resume() {
    const std::lock_guard lock{mutex_};
    paused_ = false;
    changed_.notify_all();
  }

  // For the run.

  [[nodiscard]] bool paused() const {
    const std::lock_guard lock{mutex_};
    return paused_;
  }
  /// False when it is to stop.
  [[nodiscard]] bool wait_until_resumed() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return !paused_ || stopped_; });
    return !stopped_;
  }
  /// The token of a session, which ends for a stop and for a pause.
  [[nodiscard]] std::stop_token begin_session() {
    const std::lock_guard lock{mutex_};
    session_ = {};
    if (paused_ || stopped_) session_.request_stop();
    return session_.get_token();
  }
  void end_session() {
    const auto session = [&] {
      const std::lock_guard lock{mutex_};
      return session_;
    }();
    session.request_stop();  // calls what waits for it
  }
  void run_has_ended() {
    const std::lock_guard lock{mutex_};
    stopped_ = false;
  }

 private:
  void end_session_for(bool& why) {
    {
      const std::lock_guard lock{mutex_};
      why = true;
      changed_.notify_all();
    }
    end_session();
  }

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool stopped_ = false, paused_ = false;
  std::stop_source session_;
};

}  // namespace tidings
