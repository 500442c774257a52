#pragma once

#include <tidings/timestamp.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace tidings {

struct User {
  std::string id;
  std::string email;
  std::string name;
  bool email_verified = false;
  Timestamp created_at;
};

/// What `register --json` and `POST /users` answer.
[[nodiscard]] inline nlohmann::ordered_json to_json(const User& user) {
  return {{"id", user.id},
          {"email", user.email},
          {"name", user.name},
          {"emailVerified", user.email_verified},
          {"createdAt", to_iso8601(user.created_at)}};
}

}  // namespace tidings
