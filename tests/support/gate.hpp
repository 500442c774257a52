#pragma once

// Where handlers on several threads wait for the test or for each other, and show who
// runs beside whom.

#include "support/wait.hpp"

#include <atomic>
#include <stdexcept>

namespace tidings::test {

/// Holds handlers until it is opened; not for ever, so that a test that fails also ends.
class Gate {
 public:
  void pass() {
    ++entered_;
    if (!eventually(30s, [this] { return open_.load(); })) throw std::logic_error("nobody opened the gate");
    ++passed_;
  }
  void open() { open_ = true; }
  [[nodiscard]] int entered() const { return entered_; }  ///< those that have passed included
  [[nodiscard]] int passed() const { return passed_; }

 private:
  std::atomic<bool> open_{false};
  std::atomic<int> entered_{0}, passed_{0};
};

/// Lets handlers go on when so many of them are there at the same time.
class Meeting {
 public:
  explicit Meeting(int size) : size_(size) {}
  void join() {
    ++joined_;
    if (!eventually(5s, [this] { return joined_ >= size_; })) throw std::runtime_error("nobody else came");
  }

 private:
  const int size_;
  std::atomic<int> joined_{0};
};

/// Counts the handlers inside of it.
class Room {
 public:
  /// Stays a moment; true when nobody else was there in all that time.
  [[nodiscard]] bool alone() {
    const int before = inside_++;
    const bool company = eventually(20ms, [this] { return inside_ > 1; });
    --inside_;
    return before == 0 && !company;
  }

 private:
  std::atomic<int> inside_{0};
};

}  // namespace tidings::test
