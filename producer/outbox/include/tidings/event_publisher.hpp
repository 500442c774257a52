#pragma once

// Puts outbox events on the stream: the wire form, many PubAcks in flight, a
// deadline of its own for each, and the difference between an event that the
// stream refuses and a broker that is in trouble.

#include <tidings/connection.hpp>
#include <tidings/outbox_event.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tidings {

struct PublisherOptions {
  std::string subject_prefix = settings::text_or("OUTBOX_SUBJECT_PREFIX", "auth.events");
  std::string stream = settings::text_or("OUTBOX_STREAM", "AUTH_EVENTS");
  /// Without a PubAck for this long, the broker is in trouble. What is sent to find out whether that is over
  /// waits shorter at first, and longer each time.
  std::chrono::milliseconds ack_timeout{5000};
};

/// Answer to one publish.
struct PublishResult {
  enum class Kind {
    stored,     ///< PubAck: the event is in the stream
    known,      ///< PubAck with `duplicate`: the event was in the stream already
    refused,    ///< because of this event: too large, no legal subject, unreadable eventData
    unchained,  ///< the stream's last message is not the expected one; nothing was stored
    trouble,    ///< no responders, storage full, no leader, timeout, connection lost: not the event's fault
  };
  Kind kind = Kind::stored;
  std::uint64_t token = 0;
  std::string error{};
};

/// publish() and collect() belong to one thread.
class EventPublisher {
 public:
  /// `on_outcome` is called from a NATS thread whenever collect() has something new; it must only wake.
  EventPublisher(Connection& connection, PublisherOptions options, std::function<void()> on_outcome);
  ~EventPublisher();

  /// Sends without waiting; the outcome comes through collect() under `token`, exactly once.
  /// With `after`, the stream takes the event only if its last message has that id: a chain of
  /// such publishes breaks at the first one that is not stored, so none can overtake it.
  void publish(std::uint64_t token, const OutboxEvent& event, const std::string& after = {});

  /// Writes out what nats.c has buffered. Waits for the server's PONG, at most 1 s.
  void flush();

  /// Moves out the outcomes since the last call. Events whose deadline has passed, or whose
  /// connection was lost, come out as trouble; a late PubAck of theirs is ignored.
  void collect(std::vector<PublishResult>& out);

  /// What is in flight will not be answered any more, or very soon; and so for what is sent next.
  void expect_answers_soon();

  [[nodiscard]] std::size_t in_flight() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tidings
