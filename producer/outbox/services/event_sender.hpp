#pragma once

// Makes one message of an event and hands it to the connection. EventPublisher puts messages into batches.

#include "nats/handle.hpp"
#include "services/event_builder.hpp"

#include <tidings/event_publisher.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace tidings {

/// The place of an event in an atomic batch.
struct BatchPlace {
  std::string id;            ///< of the batch, at most 64 bytes
  std::size_t sequence = 0;  ///< counted from 1
  bool last = false;         ///< commits the batch
};

/// Not thread-safe.
class EventSender {
 public:
  /// Both must outlive it.
  EventSender(Connection& connection, const PublisherOptions& options, EventPublisher::ReadData read_data)
      : connection_(connection), options_(options), builder_(options.source, std::move(read_data)) {}

  /// Without `answer_to`, the server does not answer. Returns why it could not be sent, if so.
  [[nodiscard]] std::optional<PublishResult> send(const OutboxEvent& row, const char* answer_to,
                                                  const BatchPlace* place = nullptr);

 private:
  void set_headers(natsMsg* message, const BatchPlace* place) const;
  void discard(MessagePtr message, const BatchPlace* place);

  Connection& connection_;
  const PublisherOptions& options_;
  EventBuilder builder_;
  WireMessage wire_;  // keeps its memory
  DiscardedMessages sent_;
};

}  // namespace tidings
