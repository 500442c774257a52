#pragma once

// Serves health and metrics of consumers and outbox processors over HTTP, on threads of its own:
//
//   tidings::MonitorServer http{tidings::HttpOptions::from_environment("127.0.0.1:9464")};
//   http.watch(consumer);
//   http.start();
//   consumer.run();
//
// GET /livez       200 while each loop goes round, else 503 and why not
// GET /readyz      200 while each does its work, else 503 and why not
// GET /metrics     the figures, as Prometheus reads them
// GET /api/status  all of it as JSON: docs/openapi.json

#include <tidings/http_options.hpp>
#include <tidings/monitor_report.hpp>

#include <functional>
#include <memory>

namespace tidings {

/// Asks nothing of a database or a broker: what it serves was counted in memory.
class MonitorServer {
 public:
  /// Throws SettingError as HttpOptions::validate() does.
  explicit MonitorServer(HttpOptions options);
  /// Ends at once, whatever its clients do.
  ~MonitorServer();

  using Source = std::function<MonitorReport(const HealthLimits&)>;

  /// Called on several threads at once until this is destroyed. To be added before start().
  void add(Source source);
  /// A Consumer, an OutboxProcessor or a ProcessorRun, which must outlive this.
  template <class Watched>
  void watch(const Watched& watched) {
    add([&watched](const HealthLimits& limits) { return watched.report(limits); });
  }

  /// Returns the port. Throws Error when it cannot listen there.
  int start();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidings
