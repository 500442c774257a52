#include "at_hand.hpp"

#include <condition_variable>
#include <utility>

namespace tidings {
namespace {

constexpr std::size_t headers_and_subject = 512;  // a usual size: nats.c does not tell the true one

std::size_t size(natsMsg* message) {
  return static_cast<std::size_t>(natsMsg_GetDataLength(message)) + headers_and_subject;
}

}  // namespace

AtHand::AtHand(natsConnection* connection, std::chrono::milliseconds ack_wait,
               std::atomic<std::uint64_t>& count, MayExtend may_extend)
    : connection_(connection),
      ack_wait_(ack_wait),
      count_(count),
      may_extend_(std::move(may_extend)),
      heart_([this](const std::stop_token& stop) { extend_all(stop); }) {}

AtHand::Slot AtHand::add(natsMsg* message, std::uint64_t stream_sequence) {
  const std::lock_guard lock{mutex_};
  bytes_ += size(message);
  ++count_;
  if (free_.empty()) {
    entries_.push_back({message, stream_sequence});
    return entries_.size() - 1;
  }
  const auto slot = free_.back();
  free_.pop_back();
  entries_[slot] = {message, stream_sequence};
  return slot;
}

void AtHand::remove(Slot slot) {
  const std::lock_guard lock{mutex_};
  bytes_ -= size(entries_[slot].message);
  --count_;
  entries_[slot] = {};
  free_.push_back(slot);
}

std::size_t AtHand::bytes() const {
  const std::lock_guard lock{mutex_};
  return bytes_;
}

void AtHand::extend_all(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  std::condition_variable_any never;
  while (!never.wait_for(lock, stop, ack_wait_ / 3, [&stop] { return stop.stop_requested(); })) {
    for (const auto& [message, stream_sequence] : entries_)
      if (message != nullptr && may_extend_(stream_sequence))
        natsConnection_PublishString(connection_, natsMsg_GetReply(message), "+WPI");
  }
  nats_ReleaseThreadMemory();
}

void AtHand::stop() {
  heart_.request_stop();
  if (heart_.joinable()) heart_.join();
}

}  // namespace tidings
