#pragma once

// An event as it travels: CloudEvents 1.0 over NATS, in binary mode (attributes in headers, data as payload)
// or structured mode (one JSON document). Encoding and decoding are pure functions of headers and payload.

#include <tidings/error.hpp>

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidings {

/// In wire order. Names keep the case they came with.
using Headers = std::vector<std::pair<std::string, std::string>>;

struct Event {
  std::string id;                       ///< opaque; with the source the key of deduplication, a UUID alone
  std::string type;                     ///< `user.created`
  std::string source;                   ///< `auth-service`
  std::string aggregate_id;             ///< CloudEvents `subject`
  std::string aggregate_type;           ///< `User`
  int version = 1;                      ///< of the event's schema
  std::string time;                     ///< RFC 3339; empty when the sender gave none
  std::string partition_key;            ///< events with the same key keep their order
  std::string traceparent, tracestate;  ///< W3C trace context, empty when absent
  std::string data;                     ///< JSON text or other bytes, as they were sent; empty for none
  std::string metadata = "{}";          ///< JSON object as text
  std::string content_type;             ///< of the data; empty for JSON, or when the sender gave none

  /// `data` parsed. Throws Undecodable.
  [[nodiscard]] nlohmann::json json() const;
};

/// A message that is not an event, with the reason.
struct Undecodable : Error {
  using Error::Error;
};

struct WireMessage {
  Headers headers;
  std::string payload;
};

/// Binary mode. Empty attributes are left out (nats.c misreads empty header values). Nats-Msg-Id is a UUID,
/// or
/// `<source>/<id>`. Throws Undecodable when the id cannot be a header value.
[[nodiscard]] WireMessage encode(const Event& event);
/// The same over an earlier message, whose memory is used again.
void encode(const Event& event, WireMessage& out);

/// Reads binary mode and structured mode (`application/cloudevents+json`), header names in any case.
/// `subject_type` (what follows the stream's subject prefix) stands in for a missing type, and Nats-Msg-Id
/// for a missing id. The payload of binary mode is not parsed here. Throws Undecodable naming what is wrong.
[[nodiscard]] Event decode(const Headers& headers, std::string_view payload,
                           std::string_view subject_type = {});
/// The same over an earlier event, whose memory is used again. After a throw it is half written.
void decode(const Headers& headers, std::string_view payload, std::string_view subject_type, Event& out);

/// The value of the first header of that name, in any case; empty when there is none.
[[nodiscard]] std::string_view header(const Headers& headers, std::string_view name);

}  // namespace tidings
