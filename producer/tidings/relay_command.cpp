#include "command_line.hpp"
#include "commands.hpp"

#include <tidings/connection.hpp>
#include <tidings/database.hpp>
#include <tidings/error.hpp>
#include <tidings/monitor_server.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/processor_run.hpp>
#include <tidings/stop_signals.hpp>

#include <spdlog/spdlog.h>

#include <memory>
#include <string>

namespace tidings {
namespace {

struct RelayFlags {
  bool drain = false;
  bool manage_stream = true;
  std::string http;  ///< where to serve health and metrics; empty: nowhere
};

/// Says at once that there is no outbox, instead of after the wait for NATS. A database that has only a
/// transient error is waited for by the processor.
void require_outbox(const std::string& url) {
  try {
    Database::open(url)->require_schema();
  } catch (const DatabaseError& error) {
    if (!error.retryable()) throw;
    spdlog::warn("waiting for database: {}", error.what());
  }
}

std::unique_ptr<MonitorServer> watch(const ProcessorRun& processor, const std::string& http) {
  if (http.empty()) return nullptr;
  auto monitor = std::make_unique<MonitorServer>(HttpOptions::from_environment(http));
  monitor->watch(processor);
  monitor->start();
  return monitor;
}

int relay(const RelayFlags& flags) {
  const auto url = database_url();
  auto options = OutboxProcessorOptions::from_environment();
  options.drain = flags.drain;
  options.manage_stream = flags.manage_stream;
  auto connecting = ConnectionOptions::from_environment();
  connecting.name = "tidings relay";
  ProcessorRun processor;
  const auto monitor = watch(processor, flags.http);
  require_outbox(url);

  StopSignals signals;
  try {
    processor.run(url, connecting, options, signals.token());
    const auto status = processor.status();
    spdlog::info("relay ended published={} refused={} dead_lettered={}", status.published, status.refused,
                 status.dead_lettered);
  } catch (const NatsError& error) {
    // Asked to stop while still waiting for a server: nothing was begun.
    if (!error.retryable() || !signals.token().stop_requested()) throw;
    spdlog::info("relay stopped before NATS answered");
  }
  return exit_code::done;
}

}  // namespace

void add_relay_command(CommandLine& line) {
  const auto flags = std::make_shared<RelayFlags>();
  auto& command = line.command("relay", "Publishes an outbox's events until SIGINT or SIGTERM, which drain.",
                               {SettingGroup::database, SettingGroup::nats, SettingGroup::outbox},
                               [flags] { return relay(*flags); });
  command.add_flag("--drain", flags->drain, "exit once nothing is left to publish");
  command.add_option("--http", flags->http,
                     "HOST:PORT to serve health and metrics on; port 0 takes a free one");
  command.add_flag("--manage-stream,!--no-manage-stream", flags->manage_stream,
                   "make the stream when it is missing (default)");
}

}  // namespace tidings
