#pragma once

// The messages that the server has handed to this instance and that are not settled
// yet. Each is extended (+WPI) until it is, so that the server hands it to nobody else.

#include "nats_handle.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace tidings {

/// Thread-safe.
class AtHand {
 public:
  using Slot = std::size_t;
  /// False for the message at a stream sequence that is to be extended no more.
  using MayExtend = std::function<bool(std::uint64_t)>;

  /// Extends three times in each `ack_wait`. Shows in `count` how many there are.
  AtHand(natsConnection* connection, std::chrono::milliseconds ack_wait, std::atomic<std::uint64_t>& count,
         MayExtend may_extend);

  [[nodiscard]] Slot add(natsMsg* message, std::uint64_t stream_sequence);
  /// Before the message is settled: a +WPI that follows a delayed -NAK would replace its delay by the
  /// AckWait.
  void remove(Slot slot);

  /// Of payloads and headers, about.
  [[nodiscard]] std::size_t bytes() const;

  /// Extends no more.
  void stop();

 private:
  void extend_all(const std::stop_token& stop);

  natsConnection* connection_;
  std::chrono::milliseconds ack_wait_;
  std::atomic<std::uint64_t>& count_;
  MayExtend may_extend_;
  mutable std::mutex mutex_;
  struct Entry {
    natsMsg* message = nullptr;  // in a free slot
    std::uint64_t stream_sequence = 0;
  };
  std::vector<Entry> entries_;
  std::vector<Slot> free_;
  std::size_t bytes_ = 0;
  std::jthread heart_;
};

}  // namespace tidings
