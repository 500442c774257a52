#pragma once

// What the server says about a pull request, beside the messages: heartbeats, the request's end, refusals
// (ADR-37).

#include "nats/handle.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace tidings {

struct PullStatus {
  enum class Kind {
    heartbeat,
    ended,              ///< nothing came within the time, or not all of it
    completed,          ///< all that was asked for has come, in fewer bytes than allowed (from 2.10 on)
    too_large,          ///< the next message does not fit into the bytes of the request
    leadership_change,  ///< the request died with the durable's leader
    deleted,            ///< the durable is gone
    became_push,        ///< the durable is a push consumer now
    refused,            ///< the durable does not allow such a request
    no_responders,      ///< nobody serves the durable: JetStream is electing, or it is gone
    other,
  };

  Kind kind = Kind::other;
  std::optional<int> missing;  ///< messages of the request that did not come; older servers do not say
  std::string text;            ///< the description, for people

  /// `code` and `description` are the server's headers of those names, `pending` its Nats-Pending-Messages.
  [[nodiscard]] static PullStatus parse(std::string_view code, std::string_view description,
                                        std::string_view pending);
  [[nodiscard]] static PullStatus of(natsMsg* message);
};

}  // namespace tidings
