#pragma once

// Reads what a stream holds at this moment, in order and without the payloads, by a consumer that acks
// nothing and is gone afterwards: ten thousand messages take some ten requests.

#include "jetstream_api.hpp"
#include "nats/acknowledgement.hpp"
#include "nats/handle.hpp"

#include <tidings/timestamp.hpp>

#include <functional>
#include <optional>
#include <string>

namespace tidings {

struct StreamPart {
  std::string stream;
  std::string filter_subject{};      ///< empty: all subjects
  std::optional<Timestamp> since{};  ///< stored then or later
};

/// The header Nats-Msg-Size tells the size of the payload that is left out. Throws NatsError.
void read_stream(JetStreamApi& api, const StreamPart& part,
                 const std::function<void(natsMsg*, const AckSubject&)>& visit);

}  // namespace tidings
