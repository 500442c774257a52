#pragma once

// JetStream's own JSON API, as far as operators' commands ask it: what nats.c 3.4 has no call for, and fields
// that newer servers have added.

#include "printing.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace tidings {

inline constexpr int stream_not_found = 10059;

/// The server has understood the request and refuses it.
class JetStreamRefusal : public NatsError {
 public:
  JetStreamRefusal(const std::string& what, int code) : NatsError(what), code_(code) {}
  [[nodiscard]] int code() const noexcept { return code_; }  ///< err_code, as stream_not_found

 private:
  int code_;
};

/// A stream's name comes from a flag and becomes part of a subject. Throws SettingError for what is none.
void require_stream_name(const std::string& stream);

/// Of a consumer's configuration; none lets all subjects through.
[[nodiscard]] std::vector<std::string> filters_of(const Json& config);

class JetStreamApi {
 public:
  /// Connects as the environment says, in one try. Throws NatsError.
  explicit JetStreamApi(const std::string& command);

  /// `STREAM.INFO.AUTH_DLQ` with a body. Throws JetStreamRefusal; NatsError when there is no answer in 5 s.
  Json request(const std::string& what, const Json& body = {});

  /// All consumers of the stream, as CONSUMER.INFO has them.
  std::vector<Json> consumers(const std::string& stream);

  /// Sends without waiting; answers come to `reply`.
  void send(const std::string& what, const Json& body, const std::string& reply);

  Connection& connection() noexcept { return connection_; }

 private:
  Connection connection_;
};

}  // namespace tidings
