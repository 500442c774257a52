#pragma once

// A user: how it is shown, the event of its creation, and the table.

#include <tidings/database.hpp>
#include <tidings/domain_event.hpp>
#include <tidings/timestamp.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace tidings {

struct User {
  std::string id, email, name;
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

struct UserCreatedEvent : DomainEvent {
  explicit UserCreatedEvent(const User& user) {
    aggregate_id = user.id;
    aggregate_type = "User";
    event_type = "user.created";
    occurred_at = user.created_at;
    data = {{"userId", user.id},
            {"email", user.email},
            {"name", user.name},
            {"emailVerified", user.email_verified},
            {"createdAt", to_iso8601(user.created_at)}};
    metadata = {{"source", "auth-service"}, {"action", "user.register"}};
  }
};

/// Not thread-safe: one for each connection and thread.
class UserRepository {
 public:
  explicit UserRepository(Database& database) : database_(database) {}

  /// The table of users, made if it is missing: a script for Database::migrate().
  [[nodiscard]] static std::string_view schema(Database::Kind kind) noexcept;

  /// False when the e-mail address is taken: addresses that differ only in the case of ASCII letters are the
  /// same. Throws DatabaseError.
  [[nodiscard]] bool insert(Transaction& transaction, const User& user);

 private:
  Database& database_;
};

}  // namespace tidings
