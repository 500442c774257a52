#pragma once

// The service's HTTP interface: POST /users, GET /health, and what MonitorServer serves.

#include "auth_service.hpp"
#include "background_processor.hpp"
#include "http/deadline_server.hpp"
#include "http/listener.hpp"
#include "http/monitor_routes.hpp"

#include <tidings/database.hpp>

#include <httplib.h>

#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

namespace tidings {

class HttpServer {
 public:
  /// Throws DatabaseError when the database or its tables are not there.
  HttpServer(const std::string& database_url, BackgroundProcessor& processor, const HttpOptions& options);

  /// False when others can reach the address and there is no token: then only what is the service's own is
  /// served.
  [[nodiscard]] bool monitored() const { return !monitor_.closed(); }

  /// Returns the port. Throws Error when it cannot listen there.
  int bind() { return listener_.bind(address_); }

  /// Serves until `stop`, then answers the requests that are there whole. Throws Error when it ends by
  /// itself.
  void run(const std::stop_token& stop) { listener_.run(stop, Listener::AtStop::answer); }

 private:
  void post_user(const httplib::Request& request, httplib::Response& response,
                 const httplib::ContentReader& content);
  void get_health(httplib::Response& response) const;

  const Address address_;
  MonitorRoutes monitor_;
  DeadlineServer server_;
  Listener listener_{server_};
  BackgroundProcessor& processor_;

  // SQLite has one writer at a time anyway: turns are fairer and cheaper than polling for the file's lock.
  std::timed_mutex turn_;
  std::unique_ptr<Database> database_;  // this and the next belong to the thread that has the turn
  AuthService service_;
};

}  // namespace tidings
