#include "consumer/worker_pool.hpp"

namespace tidings {

WorkerPool::WorkerPool(int workers, const FailurePolicy& policy, std::function<void()> wake)
    : policy_(policy), wake_(std::move(wake)) {
  threads_.reserve(static_cast<std::size_t>(workers));
  for (int i = 0; i < workers; ++i)
    threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
}

WorkerPool::~WorkerPool() {
  for (auto& thread : threads_) thread.request_stop();  // before the first is joined
}

void WorkerPool::start(RunPtr run) {
  {
    const std::lock_guard lock{mutex_};
    waiting_.push_back(std::move(run));
  }
  arrived_.notify_one();
}

void WorkerPool::start_no_more() {
  const std::lock_guard lock{mutex_};
  starts_no_more_ = true;
}

std::vector<RunPtr> WorkerPool::take_ended() {
  const std::lock_guard lock{mutex_};
  return std::exchange(ended_, {});
}

std::deque<RunPtr> WorkerPool::take_back() {
  const std::lock_guard lock{mutex_};
  return std::exchange(waiting_, {});
}

void WorkerPool::work(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  while (arrived_.wait(lock, stop, [this] { return !waiting_.empty() && !starts_no_more_; }) &&
         !stop.stop_requested()) {
    const auto run = std::move(waiting_.front());
    waiting_.pop_front();
    run->started = Run::Clock::now();
    lock.unlock();
    handle(*run);
    lock.lock();
    ended_.push_back(run);
    if (ended_.size() > 1) continue;  // woken already
    lock.unlock();
    wake_();
    lock.lock();
  }
}

void WorkerPool::handle(Run& run) const {
  run.settlement = {.kind = Settlement::Kind::handled, .attempts = run.delivery.attempt};
  try {
    run.entry->handle(run.delivery);
  } catch (...) {
    run.settlement = policy_.current_exception(run.delivery, *run.entry);
  }
  run.settlement.took = Run::Clock::now() - run.started.load();
}

}  // namespace tidings
