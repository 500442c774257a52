#pragma once

// The service's HTTP interface: POST /users and GET /health.

#include "auth_service.hpp"
#include "background_processor.hpp"
#include "deadline_server.hpp"

#include <tidings/database.hpp>

#include <httplib.h>

#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

namespace tidings {

struct Address {
  std::string host;
  int port = 0;  ///< 0: any that is free

  /// `HOST:PORT` or `[V6]:PORT`. Throws SettingError.
  [[nodiscard]] static Address parse(const std::string& text);
};

[[nodiscard]] std::string to_string(const Address& address);

class HttpServer {
 public:
  /// Throws DatabaseError when the database or its tables are not there.
  HttpServer(const std::string& database_url, BackgroundProcessor& processor);

  /// Returns the port. Throws Error when it cannot listen there.
  int bind(const Address& address);

  /// Serves until `stop`, then answers the requests that are there whole. Throws Error when it ends by
  /// itself.
  void run(const std::stop_token& stop);

 private:
  void post_user(const httplib::Request& request, httplib::Response& response,
                 const httplib::ContentReader& content);
  void get_health(httplib::Response& response) const;

  DeadlineServer server_;
  int socket_ = -1;
  BackgroundProcessor& processor_;

  // SQLite has one writer at a time anyway: turns are fairer and cheaper than polling for the file's lock.
  std::timed_mutex turn_;
  std::unique_ptr<Database> database_;  // this and the next belong to the thread that has the turn
  AuthService service_;
};

}  // namespace tidings
