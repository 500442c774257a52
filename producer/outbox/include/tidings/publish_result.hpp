#pragma once

// What became of one publish.

#include <cstdint>
#include <string>

namespace tidings {

/// The answer to one publish.
struct PublishResult {
  enum class Kind {
    stored,     ///< PubAck: the event is in the stream
    known,      ///< PubAck with `duplicate`: the event was in the stream already
    refused,    ///< because of this event: too large, no legal subject, unreadable eventData
    unchained,  ///< the stream's last message is not the expected one; nothing was stored
    transient,  ///< no responders, storage full, no leader, timeout, connection lost: not the event's fault
  };
  Kind kind = Kind::stored;
  std::uint64_t token = 0;
  std::string error{};
};

}  // namespace tidings
