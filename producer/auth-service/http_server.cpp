#include "http_server.hpp"

#include <tidings/error.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <optional>
#include <string_view>

namespace tidings {
namespace {

constexpr std::chrono::seconds longest_wait{5};
constexpr std::size_t longest_body = 16384;
constexpr std::size_t most_discarded = 1048576;

void answer(httplib::Response& response, int status, const nlohmann::ordered_json& body) {
  response.status = status;
  // Error texts may quote what was sent, in any encoding.
  response.set_content(body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n',
                       "application/json");
}

void answer_error(httplib::Response& response, int status, const std::string& error) {
  answer(response, status, {{"error", error}});
}

/// A page in a browser may send other types, or none, to any host: only for this one the browser asks first.
bool is_json(const httplib::Request& request) {
  auto type = request.get_header_value("Content-Type");
  type.resize(std::min(type.find(';'), type.size()));
  type.resize(type.find_last_not_of(" \t") + 1);
  constexpr std::string_view json = "application/json";
  return std::ranges::equal(type, json, {}, [](unsigned char letter) { return std::tolower(letter); });
}

/// The body, or nothing when it is refused: then the answer is already made. The library
/// checks a Content-Length against the limit, but not the size of a chunked or compressed body.
std::optional<std::string> read_body(const httplib::Request& request, httplib::Response& response,
                                     const httplib::ContentReader& content) {
  const auto refuse = [&response](int status, const std::string& why) {
    answer_error(response, status, why);
    return std::nullopt;
  };
  if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding"))
    return refuse(411, "send the body with its Content-Length");
  if (!is_json(request)) return refuse(415, "send JSON, with Content-Type: application/json");
  std::string body;
  std::size_t size = 0;
  const bool complete = content([&](const char* data, std::size_t length) {
    size += length;
    if (size <= longest_body) body.append(data, length);
    return size <= most_discarded;
  });
  if (size > longest_body || response.status == 413)
    return refuse(413, "body is longer than " + std::to_string(longest_body) + " bytes");
  if (!complete)
    return refuse(response.status > 0 ? response.status : 400, "body is incomplete or unreadable");
  return body;
}

}  // namespace

HttpServer::HttpServer(const std::string& database_url, BackgroundProcessor& processor,
                       const HttpOptions& options)
    : address_(Address::parse(options.listen)),
      monitor_(options),
      server_({.bytes = 2 * most_discarded}),
      processor_(processor),
      database_(Database::open(database_url)),
      service_(*database_) {
  database_->require_schema();
  monitor_.add([&processor](const HealthLimits& limits) { return processor.report(limits); });
  monitor_.add_to(server_);
  server_.set_payload_max_length(longest_body);
  server_.Post("/users",
               [this](const httplib::Request& request, httplib::Response& response,
                      const httplib::ContentReader& content) { post_user(request, response, content); });
  server_.Get("/health",
              [this](const httplib::Request&, httplib::Response& response) { get_health(response); });
  // The answer to what the library refuses by itself (no such route, bad request line) has no body yet.
  server_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    answer_error(response, response.status,
                 response.status == 404
                     ? "there are POST /users and GET /health, /livez, /readyz, /metrics and /api/status"
                     : "request refused");
  });
  server_.set_logger([](const httplib::Request& request, const httplib::Response& response) {
    spdlog::debug("http method={} status={}", request.method, response.status);
  });
}

void HttpServer::post_user(const httplib::Request& request, httplib::Response& response,
                           const httplib::ContentReader& content) {
  const auto body = read_body(request, response, content);
  if (!body) return;
  try {
    const auto registration = parse_registration(*body);
    // A deadline by the system's clock, since the ThreadSanitizer of g++ 12 sees no lock with another.
    const std::unique_lock turn{turn_, std::chrono::system_clock::now() + longest_wait};
    if (!turn) throw DatabaseError("too many registrations are waiting", Error::Retry::yes);
    const auto user = service_.register_user(registration);
    processor_.notify();
    answer(response, 201, to_json(user));
  } catch (const AlreadyRegistered& refusal) {
    answer_error(response, 409, refusal.what());
  } catch (const InvalidRegistration& refusal) {
    answer_error(response, 400, refusal.what());
  } catch (const std::exception& error) {
    const auto* ours = dynamic_cast<const Error*>(&error);
    const bool later = ours != nullptr && ours->retryable();
    spdlog::error("registration failed error={}", error.what());
    if (later) response.set_header("Retry-After", "1");
    answer_error(response, later ? 503 : 500, later ? "the database is busy: try again" : "internal error");
  }
}

void HttpServer::get_health(httplib::Response& response) const {
  const auto health = processor_.health();
  nlohmann::ordered_json body{{"phase", health.phase}};
  if (!health.error.empty()) body["error"] = health.error;
  answer(response, health.ok ? 200 : 503, body);
}

}  // namespace tidings
