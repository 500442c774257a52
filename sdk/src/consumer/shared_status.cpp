#include "consumer/shared_status.hpp"

namespace tidings {

void SharedStatus::set(ConsumerStatus::State state, const std::string& reason) {
  ConsumerStatus changed;
  {
    const std::lock_guard lock{mutex_};
    if (status_.state == state && status_.reason == reason) return;
    status_ = {state, reason, std::chrono::system_clock::now()};
    changed = status_;
  }
  if (changed_) changed_(changed);
}

ConsumerStatus SharedStatus::get() const {
  const std::lock_guard lock{mutex_};
  return status_;
}

}  // namespace tidings
