#pragma once

// What is served about consumers and processors, on a server of their own or beside a service's routes.

#include "http/deadline_server.hpp"

#include <tidings/http_options.hpp>
#include <tidings/monitor_server.hpp>

#include <string>
#include <vector>

namespace tidings {

class MonitorRoutes {
 public:
  /// Beyond loopback they are served only to who brings the token.
  explicit MonitorRoutes(HttpOptions options);

  /// To nobody: others can reach the address, and there is no token.
  [[nodiscard]] bool closed() const { return !loopback_ && options_.token.empty(); }

  /// Before add_to().
  void add(MonitorServer::Source source) { sources_.push_back(std::move(source)); }
  /// This must outlive the server.
  void add_to(httplib::Server& server) const;

 private:
  using Answer = void (MonitorRoutes::*)(httplib::Response&) const;

  void serve(const httplib::Request& request, httplib::Response& response, Answer answer) const;
  [[nodiscard]] bool admits(const httplib::Request& request, httplib::Response& response) const;
  [[nodiscard]] std::vector<MonitorReport> reports() const;
  void answer_health(httplib::Response& response, std::string MonitorReport::*problem) const;
  void get_alive(httplib::Response& response) const;
  void get_ready(httplib::Response& response) const;
  void get_metrics(httplib::Response& response) const;
  void get_status(httplib::Response& response) const;

  const HttpOptions options_;
  const bool loopback_;
  std::vector<MonitorServer::Source> sources_;
};

}  // namespace tidings
