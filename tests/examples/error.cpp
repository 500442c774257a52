#include <tidings/error.hpp>

#include <functional>

bool worked(const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const tidings::Error& error) {
    if (!error.retryable()) throw;
    return false;  // the same call may succeed later
  }
}
