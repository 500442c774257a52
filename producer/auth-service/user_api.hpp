#pragma once

// The service's HTTP interface: POST /users and GET /health.

#include "auth_service.hpp"
#include "background_processor.hpp"
#include "user_repository.hpp"

#include <tidings/database.hpp>

#include <httplib.h>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>

namespace tidings {

/// Routes hold a reference to this object: it must outlive the server's run.
class UserApi {
 public:
  static constexpr std::size_t max_body = 16 * 1024;

  /// Throws DatabaseError when the database or its tables are not there.
  UserApi(const std::string& database_url, BackgroundProcessor& processor);

  void serve_on(httplib::Server& server);

 private:
  class Turn;

  void post_user(const httplib::Request& request, httplib::Response& response,
                 const httplib::ContentReader& content);
  void register_user(const Registration& registration, httplib::Response& response);
  void get_health(httplib::Response& response) const;

  BackgroundProcessor& processor_;

  // SQLite has one writer at a time anyway: taking turns is fairer and cheaper than threads that
  // poll for the file's lock. The rest belongs to whoever has the turn.
  std::mutex mutex_;
  std::condition_variable turn_is_free_;
  bool turn_taken_ = false;  // guarded by mutex_
  std::unique_ptr<Database> database_;
  UserRepository users_;
  AuthService service_;
};

}  // namespace tidings
