#include "http/listener.hpp"
#include "http/monitor_routes.hpp"

#include <tidings/monitor_server.hpp>

#include <spdlog/spdlog.h>

#include <thread>
#include <utility>

namespace tidings {
namespace {

HttpOptions valid(HttpOptions options) {
  options.validate();
  return options;
}

void refuse_other_methods(httplib::Server& server) {
  server.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    using Handled = httplib::Server::HandlerResponse;
    if (request.method == "GET" || request.method == "HEAD") return Handled::Unhandled;
    response.status = 405;
    response.set_header("Allow", "GET, HEAD");
    return Handled::Handled;
  });
}

/// What the library refuses by itself (no such route, bad request line) has no body yet.
void explain_refusals(httplib::Server& server) {
  server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (!response.body.empty()) return;
    response.set_content(response.status == 404
                             ? R"({"error":"there are GET /livez, /readyz, /metrics and /api/status"})"
                             : R"({"error":"request refused"})",
                         "application/json");
  });
}

}  // namespace

struct MonitorServer::State {
  explicit State(HttpOptions options) : address(Address::parse(options.listen)), routes(std::move(options)) {
    routes.add_to(server);
    refuse_other_methods(server);
    explain_refusals(server);
  }

  const Address address;
  MonitorRoutes routes;
  DeadlineServer server{{.bytes = 16384, .connections = 16}};
  Listener listener{server};
  std::jthread thread;  // last: it uses the others
};

MonitorServer::MonitorServer(HttpOptions options)
    : state_(std::make_unique<State>(valid(std::move(options)))) {}

MonitorServer::~MonitorServer() = default;

void MonitorServer::add(Source source) { state_->routes.add(std::move(source)); }

int MonitorServer::start() {
  const int port = state_->listener.bind(state_->address);
  spdlog::info("health and metrics at http://{}", to_string(Address{state_->address.host, port}));
  state_->thread = std::jthread{[&listener = state_->listener](const std::stop_token& stop) {
    try {
      listener.run(stop, Listener::AtStop::hang_up);
    } catch (const std::exception& error) {
      spdlog::error("no health and metrics any more: {}", error.what());
    }
  }};
  return port;
}

}  // namespace tidings
