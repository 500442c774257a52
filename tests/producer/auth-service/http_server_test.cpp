// `auth-service serve` as its clients meet it. NATS is away: what is registered waits in the outbox.

#include "support/catch.hpp"
#include "support/file_descriptor.hpp"
#include "support/loopback.hpp"
#include "support/process.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/database.hpp>

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

class Service {
 public:
  explicit Service(const std::string& host = "127.0.0.1", const std::string& token = {}) {
    REQUIRE(run(executable("auth-service"), {"migrate"}, options()).exit == exited(0));
    auto serving = options();
    serving.environment.emplace_back("TIDINGS_HTTP_TOKEN", token);
    process_.emplace(executable("auth-service"), std::vector<std::string>{"serve", "--http", host + ":0"},
                     serving);
    REQUIRE(process_->wait_for_output("listening on " + host + ":"));
    const auto line = process_->out();
    port_ = std::stoi(line.substr(line.find(host + ":") + host.size() + 1));
  }

  [[nodiscard]] int port() const noexcept { return port_; }
  [[nodiscard]] std::string database() const { return (folder_ / "auth.db").string(); }
  [[nodiscard]] std::int64_t users() const {
    return sqlite::number(database(), "SELECT count(*) FROM \"user\"");
  }
  Process& process() { return *process_; }

  [[nodiscard]] httplib::Client client() const {
    httplib::Client client{"127.0.0.1", port_};
    client.set_read_timeout(20s);
    return client;
  }
  /// The status of a registration that says it is of `type`; says nothing when that is empty.
  [[nodiscard]] int post(const std::string& type, const std::string& email) const {
    const auto body = R"({"email":")" + email + R"(","name":"Ada"})";
    httplib::Headers headers;
    if (!type.empty()) headers.emplace("Content-Type", type);
    httplib::Request request;
    request.method = "POST";
    request.path = "/users";
    request.headers = headers;
    request.body = body;
    const auto answer = client().send(request);
    REQUIRE(answer);
    return answer->status;
  }

 private:
  [[nodiscard]] ProcessOptions options() const {
    return {.environment = {{"DATABASE_URL", "sqlite:" + database()},
                            {"NATS_URL", "nats://127.0.0.1:" + std::to_string(nobody_.number())}}};
  }

  const TempDir folder_;
  const ReservedPort nobody_;
  int port_ = 0;
  std::optional<Process> process_;
};

/// A connection that sends what it is told to.
class RawClient {
 public:
  RawClient(const Service& service, const std::string& text) : socket_(start_connecting(service.port())) {
    pollfd waited{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    REQUIRE(::poll(&waited, 1, 10000) == 1);
    REQUIRE(send(text));
  }

  /// False when the connection is closed.
  bool send(const std::string& text) {
    return ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }

  /// All that comes until the connection is closed; nothing when it is not within `deadline`.
  std::optional<std::string> answer(std::chrono::milliseconds deadline) {
    std::string text;
    std::array<char, 4096> buffer{};
    const bool closed = eventually(deadline, [&] {
      const auto count = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
      return count == 0 || (count < 0 && errno != EAGAIN);
    });
    return closed ? std::optional{text} : std::nullopt;
  }

 private:
  FileDescriptor socket_;
};

/// Clients whose requests never end: each sends a byte of a header or of a body ten times a second.
class SlowClients {
 public:
  SlowClients(const Service& service, int count, const std::string& begin = "GET /health HTTP/1.1\r\nX: ") {
    for (int i = 0; i < count; ++i) clients_.emplace_back(service, begin);
    thread_ = std::jthread{[this](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        for (auto& client : clients_) client.send("x");
        ::poll(nullptr, 0, 100);  // their load
      }
    }};
  }

  RawClient& first() { return clients_.front(); }

 private:
  std::vector<RawClient> clients_;
  std::jthread thread_;
};

const std::string endless_body =
    "POST /users HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 16000\r\n\r\n";

}  // namespace

TEST_CASE("a service that waits for NATS says so in its outbox, and what for") {
  const Service service;
  REQUIRE_WITHIN(10s, service.client().Get("/health")->body.find("waiting for broker") != std::string::npos);
  REQUIRE_WITHIN(10s, sqlite::number(service.database(), "SELECT count(*) FROM outbox_state") == 1);
  CHECK_THAT(sqlite::text(service.database(), "SELECT phase || ': ' || trouble FROM outbox_state"),
             ContainsSubstring("waiting for broker: cannot connect to NATS at"));
}

TEST_CASE("a service that waits for NATS is alive, not ready, and says what for") {
  const Service service;
  const auto get = [&service](const std::string& path) { return service.client().Get(path); };
  CHECK(get("/livez")->status == 200);
  REQUIRE_WITHIN(10s, get("/readyz")->body.find("waiting for broker: cannot connect") != std::string::npos);
  CHECK(get("/readyz")->status == 503);
  CHECK_THAT(get("/metrics")->body,
             ContainsSubstring("tidings_outbox_phase{phase=\"waiting for broker\"} 1"));
  CHECK_THAT(get("/api/status")->body, ContainsSubstring("\"phase\":\"waiting for broker\""));
  CHECK_THAT(get("/health")->body, ContainsSubstring("\"error\":\"cannot connect to NATS"));
}

TEST_CASE("where others can reach it, users are registered and nothing else is told without the token") {
  Service service{"0.0.0.0"};
  CHECK(service.post("application/json", "ada@example.org") == 201);
  for (const auto* const path : {"/livez", "/readyz", "/metrics", "/api/status"}) {
    CAPTURE(path);
    CHECK(service.client().Get(path)->status == 403);
  }
  CHECK(service.client().Get("/health")->status == 503);  // NATS is away
  CHECK_THAT(service.process().err(), ContainsSubstring("there is no TIDINGS_HTTP_TOKEN"));

  Service told{"0.0.0.0", "a-secret"};
  CHECK(told.post("application/json", "ada@example.org") == 201);
  CHECK(told.client().Get("/livez")->status == 401);
  const httplib::Headers headers{{"Authorization", "Bearer a-secret"}};
  CHECK(told.client().Get("/livez", headers)->status == 200);
  CHECK_THAT(told.process().err(), !ContainsSubstring("TIDINGS_HTTP_TOKEN"));
}

TEST_CASE("clients that drip their requests keep nobody else waiting for long") {
  const Service service;
  const SlowClients clients{service, 80};
  const auto health = service.client().Get("/health");
  REQUIRE(health);
  CHECK_THAT(health->body, ContainsSubstring("waiting for broker"));
  CHECK(service.post("application/json", "ada@example.org") == 201);
}

TEST_CASE("a request that is not whole in time is given up, however often a byte of it comes") {
  const Service service;
  const auto begin = GENERATE(as<std::string>{}, "GET /health HTTP/1.1\r\nX: ", endless_body);
  CAPTURE(begin);
  SlowClients clients{service, 1, begin};
  CHECK(clients.first().answer(15s));
}

TEST_CASE("a stop waits for no client that has not sent its whole request") {
  Service service;
  const auto begin = GENERATE(as<std::string>{}, "GET /health HTTP/1.1\r\nX: ", "", endless_body);
  CAPTURE(begin);
  const SlowClients clients{service, 20, begin};
  REQUIRE(service.client().Get("/health"));
  service.process().kill(SIGTERM);
  CHECK(service.process().wait(4s) == exited(0));
}

TEST_CASE("a stop answers the request that is there") {
  Service service;
  const auto other = Database::open("sqlite:" + service.database());
  std::optional<Transaction> lock{std::in_place, *other};
  const std::string body = R"({"email":"ada@example.org","name":"Ada"})";
  RawClient client{service, "POST /users HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n\r\n" + body};
  REQUIRE(service.client().Get("/health"));  // who comes later is answered: it has been accepted
  service.process().kill(SIGTERM);
  REQUIRE_WITHIN(10s, !service.client().Get("/health"));  // it listens no more
  lock.reset();
  const auto answer = client.answer(10s);
  REQUIRE(answer);
  CHECK_THAT(*answer, ContainsSubstring("201"));
  CHECK(service.process().wait() == exited(0));
  CHECK(service.users() == 1);
}

TEST_CASE("only JSON is taken, since a page in a browser may send other types to any host") {
  const Service service;
  for (const auto* type :
       {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=application/json",
        "application/jsonp", "text/plain; charset=application/json", ""}) {
    CAPTURE(type);
    CHECK(service.post(type, "ada@example.org") == 415);
  }
  CHECK(service.users() == 0);
  CHECK(service.post("application/json", "ada@example.org") == 201);
  CHECK(service.post("Application/JSON; charset=utf-8", "bob@example.org") == 201);
}
