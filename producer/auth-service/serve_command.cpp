#include "background_processor.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "http_server.hpp"

#include <tidings/connection.hpp>
#include <tidings/http_options.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/stop_signals.hpp>

#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <string>
#include <utility>

namespace tidings {
namespace {

int serve(const std::string& http) {
  const auto monitoring = HttpOptions::from_environment(http);
  const auto url = database_url();
  const auto options = OutboxProcessorOptions::from_environment();
  auto connecting = ConnectionOptions::from_environment();
  connecting.name = "auth-service";

  StopSignals signals;
  // At the end the order is the reverse: no more requests first, then the processor drains.
  BackgroundProcessor processor;
  HttpServer server{url, processor, monitoring};
  if (!server.monitored())
    spdlog::warn(
        "--http={}: others can reach this address, and there is no TIDINGS_HTTP_TOKEN or TIDINGS_HTTP_TOKEN_FILE: "
        "/livez, /readyz, /metrics and /api/status are refused to everybody",
        http);
  const int port = server.bind();
  processor.start(url, std::move(connecting), options);
  std::cout << "listening on " << to_string(Address{Address::parse(http).host, port}) << std::endl;
  server.run(signals.token());
  spdlog::info("stopping: no more requests, draining the outbox processor");
  return exit_code::done;
}

}  // namespace

void add_serve_command(CommandLine& line) {
  const auto http = std::make_shared<std::string>("127.0.0.1:8080");
  auto& command = line.command(
      "serve", "Serves POST /users, health and metrics, and publishes the events in the background.",
      {SettingGroup::database, SettingGroup::nats, SettingGroup::outbox}, [http] { return serve(*http); });
  command.add_option("--http", *http, "HOST:PORT to listen on; port 0 takes a free one (127.0.0.1:8080)");
}

}  // namespace tidings
