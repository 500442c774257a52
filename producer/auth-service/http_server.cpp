#include "http_server.hpp"

#include <tidings/error.hpp>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

namespace tidings {
namespace {

constexpr int request_threads = 64;  // a slow client has one to itself
constexpr int waiting_connections = 512;
constexpr std::chrono::seconds request_deadline{5};
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

Address Address::parse(const std::string& text) {
  const auto colon = text.rfind(':');
  Address address{.host = text.substr(0, colon)};
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  const auto digits = colon == std::string::npos ? "" : text.substr(colon + 1);
  const auto* const all = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), all, address.port);
  if (address.host.empty() || error != std::errc{} || end != all || address.port < 0 || address.port > 65535)
    throw SettingError("--http=" + text + ": takes HOST:PORT with a port from 0 (any free one) to 65535");
  return address;
}

std::string to_string(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? '[' + address.host + ']' : address.host) + ':' + std::to_string(address.port);
}

HttpServer::HttpServer(const std::string& database_url, BackgroundProcessor& processor)
    : server_(request_deadline),
      processor_(processor),
      database_(Database::open(database_url)),
      service_(*database_) {
  database_->require_schema();
  server_.new_task_queue = [] { return new httplib::ThreadPool(request_threads); };
  // One request a connection: an idle one would keep a thread from others, and what is left
  // of a refused body could be read as a next request.
  server_.set_keep_alive_max_count(1);
  server_.set_tcp_nodelay(true);
  // The library sets SO_REUSEPORT: a second server on a busy port would start and take half of the requests.
  server_.set_socket_options([this](auto socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    socket_ = static_cast<int>(socket);
  });
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
                 response.status == 404 ? "there are POST /users and GET /health" : "request refused");
  });
  server_.set_logger([](const httplib::Request& request, const httplib::Response& response) {
    spdlog::debug("http method={} status={}", request.method, response.status);
  });
}

int HttpServer::bind(const Address& address) {
  errno = 0;
  const int port = address.port == 0                                  ? server_.bind_to_any_port(address.host)
                   : server_.bind_to_port(address.host, address.port) ? address.port
                                                                      : -1;
  if (port <= 0) {
    const auto why = errno == 0 ? "no such host" : std::generic_category().message(errno);
    throw Error("cannot listen on " + to_string(address) + " (" + why + "): choose another with --http");
  }
  // The library's queue of 5 would make a burst of clients wait for a resent SYN.
  listen(socket_, waiting_connections);
  return port;
}

void HttpServer::run(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  bool ended = false, orderly = false;
  std::thread listener{[&] {
    orderly = server_.listen_after_bind();
    const std::lock_guard lock{mutex};
    ended = true;
    wake.notify_all();
  }};
  {
    // The library forgets a stop() that comes before it runs.
    std::unique_lock lock{mutex};
    while (!server_.is_running() && !ended) wake.wait_for(lock, std::chrono::milliseconds{1});
    wake.wait(lock, stop, [&] { return ended; });
  }
  server_.stop();
  server_.stop_reading();
  listener.join();
  if (!orderly && !stop.stop_requested()) throw Error("the HTTP server ended: out of file descriptors?");
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
