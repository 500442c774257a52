#pragma once

// Puts outbox events on the stream: the wire form, many PubAcks in flight, a deadline of its own for each,
// and the difference between an event that the stream refuses and a transient error of the broker.

#include <tidings/connection.hpp>
#include <tidings/outbox_event.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tidings {

struct PublisherOptions {
  std::string subject_prefix = "auth.events";
  std::string stream = "AUTH_EVENTS";
  /// Whose events they are, where their metadata names no source. Two services that number their events
  /// themselves need different ones. 1 to 255 bytes.
  std::string source = "auth-service";
  /// Above 1, the event's partition stands in front of its type (`auth.events.p07of16.user.created`), so that
  /// groups can share the stream out and keep the order of each aggregate: docs/partitions.md. 1 to 99.
  int partitions = 1;
  /// A publish without a PubAck after this long is a transient error of the broker. After one, the next wait
  /// is shorter at first and doubles up to this. 1 ms to 1 h.
  std::chrono::milliseconds ack_timeout{5000};

  /// The subject of an event, of which only type and aggregate are looked at. Throws Undecodable when nothing
  /// can be published to it.
  [[nodiscard]] std::string subject_of(const OutboxEvent& event) const;
};

/// What became of one publish.
struct PublishResult {
  enum class Kind {
    stored,     ///< PubAck: the event is in the stream, maybe since an earlier publish
    refused,    ///< because of this event: too large, no legal subject, unreadable eventData
    unbatched,  ///< the stream refused the batch that this event was in; nothing of it was stored
    transient,  ///< no responders, storage full, no leader, timeout, connection lost: not the event's fault
  };
  Kind kind = Kind::stored;
  std::uint64_t token = 0;
  std::string error{};
  bool maybe_subject = false;  ///< of a transient one: other subjects may fare better
};

/// An event that is to be published, and the token of its result.
struct PublishRequest {
  std::uint64_t token = 0;
  const OutboxEvent* event = nullptr;
};

/// publish(), publish_batch() and collect() belong to one thread.
class EventPublisher {
 public:
  /// Gives an event whose data is not read (OutboxEvent::data_is_read) with its data, valid until the next
  /// call.
  using ReadData = std::function<const OutboxEvent&(const OutboxEvent&)>;

  /// `on_result` is called from a NATS thread whenever collect() has something new; it must only wake.
  /// `read_data` is called by publish(), which lets its errors through; without it, all events have their
  /// data.
  EventPublisher(Connection& connection, PublisherOptions options, std::function<void()> on_result,
                 ReadData read_data = {});
  ~EventPublisher();

  /// Sends without waiting; the result comes through collect() under `token`, exactly once.
  void publish(std::uint64_t token, const OutboxEvent& event);

  /// The same as one atomic batch, 1 to 1,000 events of different ids: all are stored, in this order, or
  /// none. The stream must allow it; see atomic_batches().
  void publish_batch(const std::vector<PublishRequest>& requests);

  /// Writes out what nats.c has buffered. Waits for the server's PONG, at most 1 s.
  void flush();

  /// Moves out the results since the last call. For an event whose deadline has passed, or whose connection
  /// was lost, the result is a transient error; its PubAck is ignored if it comes late.
  void collect(std::vector<PublishResult>& out);

  /// What is in flight, and what is sent next, will be answered very soon or not at all: use short deadlines.
  void expect_answers_soon();

  [[nodiscard]] std::size_t in_flight() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tidings
