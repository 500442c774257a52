#pragma once

// A message from the stream while it is in flight: decoded, kept alive, and settled exactly once.

#include "consumer/in_flight.hpp"
#include "nats/acknowledgement.hpp"
#include "nats/handle.hpp"

#include <tidings/delivery.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace tidings {

/// A message that is destroyed unsettled comes back after the group's AckWait.
class StreamMessage {
 public:
  StreamMessage(natsConnection* connection, InFlight& in_flight)
      : connection_(connection), in_flight_(in_flight) {}
  ~StreamMessage();

  /// Takes the message and decodes it over an earlier one, whose memory is used again. What follows
  /// `subject_prefix` stands in for a missing type.
  void read(MessagePtr message, std::string_view subject_prefix);

  Delivery delivery;
  /// Why the message cannot be read as an event; empty when it can.
  std::string undecodable;
  /// The group that the message was redriven for; empty for an event that is for all.
  std::string for_group;
  /// How many messages of the group were behind this one on the stream when it was handed out.
  std::uint64_t pending = 0;
  /// Counts what the group hands out, to any instance; 0 when the message does not say.
  std::uint64_t consumer_sequence = 0;
  /// What the group handed out right before this one went to another instance, or was lost.
  bool after_gap = false;
  /// It has failed here, and was here since: no process can have ended while it was handled.
  bool retried_here = false;
  std::chrono::steady_clock::time_point arrived;

  [[nodiscard]] std::string_view payload() const noexcept;
  /// While a handler ran too long, it went to another instance, or will: no handler is to start for it here.
  [[nodiscard]] bool lapsed() const { return in_flight_.lapsed(slot_); }

  /// Tells the server what becomes of the message; then the object may read another one. A message is
  /// terminated only after its dead-letter copy is confirmed. Returns the raw message, for its memory to be
  /// freed.
  MessagePtr settle(Acknowledgement acknowledgement) &&;

 private:
  natsConnection* connection_;
  InFlight& in_flight_;
  MessagePtr message_;
  InFlight::Slot slot_ = 0;
};

using StreamMessagePtr = std::unique_ptr<StreamMessage>;

}  // namespace tidings
