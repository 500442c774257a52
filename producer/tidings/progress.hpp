#pragma once

// How far a long command is.

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <iostream>

namespace tidings {

/// Told on a terminal, a few times a second; a log or a pipe gets none of it.
class Progress {
 public:
  Progress(const char* verb, std::size_t total) : verb_(verb), total_(total) {}
  ~Progress() {
    if (shown_) std::cerr << "\r\033[K" << std::flush;
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void advance(std::size_t by = 1) {
    done_ += by;
    const auto time = std::chrono::steady_clock::now();
    if (!on_terminal_ || time < again_) return;
    again_ = time + std::chrono::milliseconds{200};
    shown_ = true;
    std::cerr << '\r' << verb_ << ' ' << done_ << " of " << total_ << std::flush;
  }

 private:
  const char* verb_;
  const std::size_t total_;
  const bool on_terminal_ = isatty(STDERR_FILENO) == 1;
  std::size_t done_ = 0;
  bool shown_ = false;
  std::chrono::steady_clock::time_point again_ = std::chrono::steady_clock::now();
};

}  // namespace tidings
