#pragma once

// The outbox processor inside of a service that must answer at once: it connects in
// the background, so that a broker that is away holds up no registration.

#include <tidings/connection.hpp>
#include <tidings/outbox_processor.hpp>

#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace tidings {

/// Thread-safe, but for start(). The destructor drains.
class BackgroundProcessor {
 public:
  void start(std::string database_url, ConnectionOptions connecting, OutboxProcessorOptions options);

  /// After a commit: read the outbox now.
  void notify() noexcept;

  struct Health {
    bool ok = false;
    std::string phase;  ///< the processor's, or `failed`
    std::string error;  ///< why it failed; it is tried again every 10 s
  };
  [[nodiscard]] Health health() const;

 private:
  void run(OutboxProcessor& processor, const std::stop_token& stop);

  mutable std::mutex mutex_;
  OutboxProcessor* processor_ = nullptr;  // while it runs; guarded by mutex_
  std::string error_;                     // guarded by mutex_
  std::jthread thread_;                   // last: it uses all of the above
};

}  // namespace tidings
