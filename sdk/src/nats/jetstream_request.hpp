#pragma once

// Requests to the JetStream API whose answers are read as JSON: what newer servers say of streams and
// consumers is not all in the structs of older nats.c.

#include <tidings/connection.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace tidings {

/// Without a leader there is no answer: asking again is better than waiting.
inline constexpr std::chrono::milliseconds look_up_timeout{1000};

/// For what a cluster has to agree on.
inline constexpr std::chrono::milliseconds change_timeout{5000};

/// Where the API takes `request`: `$JS.API.<request>`, or below another prefix (NATS_JS_DOMAIN,
/// NATS_JS_API_PREFIX).
[[nodiscard]] std::string api_subject(const Connection& connection, const std::string& request);

/// What may be wrong when nobody listens to the API, as the end of an error's text.
[[nodiscard]] std::string why_no_responders(const Connection& connection);

/// The API's answer to `request`, which may be an error; see error_code(). Throws NatsError
/// "cannot <action>: …" when there is none.
[[nodiscard]] nlohmann::json ask_jetstream(Connection& connection, const std::string& request,
                                           const std::string& action,
                                           const std::optional<nlohmann::json>& body = {},
                                           std::chrono::milliseconds timeout = look_up_timeout);

/// JetStream's number for the error that an answer tells of; 0 when it is none.
[[nodiscard]] int error_code(const nlohmann::json& answer);

/// Throws NatsError when the answer is an error.
void require_done(const nlohmann::json& answer, const std::string& action);

}  // namespace tidings
