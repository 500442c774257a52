#include "user_api.hpp"

#include "registration_json.hpp"

#include <tidings/error.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <chrono>
#include <optional>
#include <string_view>

namespace tidings {
namespace {

constexpr std::chrono::seconds longest_wait{5};
constexpr std::size_t most_discarded = 1024 * 1024;

void answer(httplib::Response& response, int status, const nlohmann::ordered_json& body) {
  response.status = status;
  // Error texts may quote what was sent, in any encoding.
  response.set_content(body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n',
                       "application/json");
}

void answer_error(httplib::Response& response, int status, const std::string& error) {
  answer(response, status, {{"error", error}});
}

/// The body, or nothing when it could not be had: then the answer is already made. The library
/// checks a Content-Length against the limit, but not what a chunked or compressed body comes to.
std::optional<std::string> read_body(const httplib::Request& request, httplib::Response& response,
                                     const httplib::ContentReader& content) {
  if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding")) {
    answer_error(response, 411, "send the body with its Content-Length");
    return std::nullopt;
  }
  if (request.is_multipart_form_data()) {
    answer_error(response, 415, "send application/json");
    return std::nullopt;
  }
  std::string body;
  std::size_t size = 0;
  const bool complete = content([&](const char* data, std::size_t length) {
    size += length;
    if (size <= UserApi::max_body) body.append(data, length);
    return size <= most_discarded;
  });
  if (size > UserApi::max_body || response.status == 413) {
    answer_error(response, 413, "body is longer than " + std::to_string(UserApi::max_body) + " bytes");
    return std::nullopt;
  }
  if (!complete) {
    answer_error(response, response.status > 0 ? response.status : 400, "body is incomplete or unreadable");
    return std::nullopt;
  }
  return body;
}

}  // namespace

/// Not a std::timed_mutex: the ThreadSanitizer of g++ 12 does not see it being locked.
class UserApi::Turn {
 public:
  /// Throws a retryable DatabaseError when those before take too long.
  explicit Turn(UserApi& api) : api_(api) {
    std::unique_lock lock{api_.mutex_};
    if (!api_.turn_is_free_.wait_for(lock, longest_wait, [&] { return !api_.turn_taken_; }))
      throw DatabaseError("too many registrations are waiting", Error::Retry::yes);
    api_.turn_taken_ = true;
  }
  ~Turn() {
    {
      const std::lock_guard lock{api_.mutex_};
      api_.turn_taken_ = false;
    }
    api_.turn_is_free_.notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  UserApi& api_;
};

UserApi::UserApi(const std::string& database_url, BackgroundProcessor& processor)
    : processor_(processor),
      database_(Database::open(database_url)),
      users_(*database_),
      service_(*database_) {
  database_->require_schema();
}

void UserApi::serve_on(httplib::Server& server) {
  server.set_payload_max_length(max_body);
  server.Post("/users",
              [this](const httplib::Request& request, httplib::Response& response,
                     const httplib::ContentReader& content) { post_user(request, response, content); });
  server.Get("/health",
             [this](const httplib::Request&, httplib::Response& response) { get_health(response); });
  // What the library refuses by itself (no such route, bad request line) has no body yet.
  server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    answer_error(response, response.status,
                 response.status == 404 ? "there are POST /users and GET /health" : "request refused");
  });
  server.set_logger([](const httplib::Request& request, const httplib::Response& response) {
    spdlog::debug("http method={} status={}", request.method, response.status);
  });
}

void UserApi::post_user(const httplib::Request& request, httplib::Response& response,
                        const httplib::ContentReader& content) {
  const auto body = read_body(request, response, content);
  if (!body) return;
  try {
    register_user(parse_registration(*body), response);
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

void UserApi::register_user(const Registration& registration, httplib::Response& response) {
  const Turn turn{*this};
  try {
    const auto user = service_.register_user(registration);
    processor_.notify();
    answer(response, 201, to_json(user));
  } catch (const InvalidRegistration& refusal) {
    const bool about_email = std::string_view(refusal.what()).starts_with("email");
    if (!about_email || !users_.find_by_email(registration.email)) throw;
    answer_error(response, 409, refusal.what());
  }
}

void UserApi::get_health(httplib::Response& response) const {
  const auto health = processor_.health();
  nlohmann::ordered_json body{{"phase", health.phase}};
  if (!health.error.empty()) body["error"] = health.error;
  answer(response, health.ok ? 200 : 503, body);
}

}  // namespace tidings
