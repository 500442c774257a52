#pragma once

// The messages that the server has handed to this instance and that are not settled
// yet. Each is extended (+WPI) until it is, so that the server hands it to nobody else.

#include "nats/acknowledgement.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace tidings {

/// Thread-safe.
class InFlight {
 public:
  using Slot = std::size_t;
  /// False while messages must go to other instances: this one cannot handle them.
  using MayExtend = std::function<bool()>;

  /// Extends each message three times in `ack_wait`. Keeps the number of messages in `count`.
  InFlight(natsConnection* connection, std::chrono::milliseconds ack_wait, std::atomic<std::uint64_t>& count,
           MayExtend may_extend);

  /// The group's AckWait has changed. All messages are extended at once.
  void use(std::chrono::milliseconds ack_wait);

  /// How often a message came again while it was here: it was not extended in time.
  [[nodiscard]] std::uint64_t lapses() const noexcept { return lapses_; }

  [[nodiscard]] Slot add(natsMsg* message, const AckSubject& delivery);
  /// Must come before the message is settled: a +WPI that follows a delayed -NAK would replace its delay by
  /// the AckWait. False for a message that was disowned.
  bool remove(Slot slot);

  /// It was not extended for an AckWait, and no handler is to start for it: the group has handed it to
  /// another instance, or soon will.
  [[nodiscard]] bool lapsed(Slot slot) const;

  /// The group, and maybe the stream, is no longer the one that handed these messages out. They must not be
  /// settled: a stream that was made again uses the same sequences, so that would settle another message.
  void disown();

  /// What is not extended in time stays here: a second copy of it is known as one.
  void never_lapse() noexcept { never_lapses_ = true; }

  /// The approximate size of all payloads and headers.
  [[nodiscard]] std::size_t bytes() const;

  /// Stops extending, and lets go of `count`.
  void stop();

 private:
  struct Entry {
    natsMsg* message = nullptr;  // in a free slot
    std::uint64_t stream_sequence = 0;
    std::size_t bytes = 0;
    enum class State { ours, lapsed, disowned } state = State::ours;
  };

  void extend_all(const std::stop_token& stop);
  void notice_lapse(std::uint64_t stream_sequence);
  void disown_when_stream_is_new(const AckSubject& delivery);
  void turn_all(Entry::State state);

  natsConnection* connection_;
  MayExtend may_extend_;

  std::atomic<std::uint64_t> lapses_{0};
  std::atomic<bool> never_lapses_{false};
  std::atomic<std::size_t> lapsed_{0};  // entries in that state

  mutable std::mutex mutex_;           // guards what follows
  std::atomic<std::uint64_t>* count_;  // until stop()
  std::condition_variable_any ack_wait_changed_;
  std::chrono::milliseconds ack_wait_;
  bool extend_now_ = false;
  std::uint64_t last_sequence_ = 0;  // on the stream: the latest of a first delivery
  std::int64_t last_stored_at_ = 0;  // when that was stored
  std::vector<Entry> entries_;
  std::vector<Slot> free_;
  std::size_t bytes_ = 0;
  std::jthread extender_;
};

}  // namespace tidings
