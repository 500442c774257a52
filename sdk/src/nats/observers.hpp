#pragma once

// Who is told when a connection is lost, and when it is back.

#include <tidings/connection.hpp>

#include <list>
#include <memory>
#include <mutex>
#include <utility>

namespace tidings {

/// Thread-safe. Shared by a connection and the observations of it, which may outlive it.
class Observers : public std::enable_shared_from_this<Observers> {
 public:
  [[nodiscard]] Connection::Observation add(Connection::Observer observer) {
    if (!observer) return nullptr;
    void* added = nullptr;
    {
      const std::lock_guard lock{mutex_};
      added = &all_.emplace_back(std::move(observer));
    }
    return {added, [self = shared_from_this()](void* ended) { self->remove(ended); }};
  }
  void tell(bool connected) const {
    const std::lock_guard lock{mutex_};
    for (const auto& observer : all_) observer(connected);
  }
  void clear() {
    const std::lock_guard lock{mutex_};
    all_.clear();
  }

 private:
  void remove(const void* observer) {
    const std::lock_guard lock{mutex_};
    all_.remove_if([observer](const auto& one) { return &one == observer; });
  }

  mutable std::mutex mutex_;  // also while they run
  std::list<Connection::Observer> all_;
};

}  // namespace tidings
