#include "consumer/take_over_gate.hpp"

#include <algorithm>

namespace tidings {

bool TakeOverGate::received(std::uint64_t sequence, std::uint64_t consumer_sequence, Time now) {
  if (open_ && consumer_sequence != last_consumer_sequence_ + 1) {
    ++gaps_;
    close(now);
  }
  // A durable that was made again counts from 1.
  last_consumer_sequence_ = consumer_sequence;
  return here_.insert(sequence).second;
}

void TakeOverGate::tell(const HandedOut& state) {
  pending_ = state.ack_pending;
  if (open_) return;
  const bool as_new = state.consumer_sequence >= last_consumer_sequence_ &&
                      (here_.empty() || *here_.rbegin() <= state.stream_sequence);
  if (!as_new || state.ack_pending != here_.size()) return;
  open_ = true;
  last_consumer_sequence_ = state.consumer_sequence;
}

void TakeOverGate::close(Time now) {
  if (!open_) return;
  open_ = false;
  closed_since_ = now;
}

}  // namespace tidings
