#pragma once

// The effect of this consumer: a row for each user that was registered. There is a pair of functions for each
// database that it can write to; a service of yours needs only one.

#include <tidings/consumer.hpp>
#include <tidings/sqlite_inbox.hpp>
#ifdef CONSUMER_POSTGRES
#include <tidings/postgres_inbox.hpp>
#endif

#include <nlohmann/json.hpp>

#include <string>

// What `user.created` carries. Members that are not named here are passed over.
struct UserCreated {
  std::string userId, email, name;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserCreated, userId, email, name)

struct WelcomeEmail {
  std::string user_id, event_id, address, name, subject, body, instance, handled_at;
};

WelcomeEmail compose(const UserCreated& user, const std::string& event_id, const std::string& instance);

// Throwing undoes what was written here and has the event redelivered later. A plain INSERT on purpose: a
// second effect would break the primary key instead of going unnoticed.
void write(SQLite::Database& tx, const WelcomeEmail& email);
void create_tables(SQLite::Database& database);

#ifdef CONSUMER_POSTGRES
void write(tidings::PostgresTransaction& tx, const WelcomeEmail& email);
void create_tables(tidings::PostgresConnection& database);
#endif
