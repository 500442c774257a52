#include "welcome_email.hpp"

#include <tidings/timestamp.hpp>

WelcomeEmail compose(const UserCreated& user, const std::string& event_id, const std::string& instance) {
  return {.user_id = user.userId,
          .event_id = event_id,
          .address = user.email,
          .name = user.name,
          .subject = "Welcome, " + user.name + "!",
          .body = "Hello " + user.name + ",\n\nyour account is ready.\n",
          .instance = instance,
          .handled_at = tidings::to_iso8601(tidings::now())};
}

void create_tables(SQLite::Database& database) {
  database.exec(
      "CREATE TABLE IF NOT EXISTS welcome_email("
      "user_id TEXT PRIMARY KEY, event_id TEXT NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL,"
      "subject TEXT NOT NULL, body TEXT NOT NULL, instance TEXT NOT NULL, handled_at TEXT NOT NULL)");
}

void write(SQLite::Database& tx, const WelcomeEmail& email) {
  SQLite::Statement insert{tx, "INSERT INTO welcome_email VALUES (?, ?, ?, ?, ?, ?, ?, ?)"};
  insert.bind(1, email.user_id);
  insert.bind(2, email.event_id);
  insert.bind(3, email.address);
  insert.bind(4, email.name);
  insert.bind(5, email.subject);
  insert.bind(6, email.body);
  insert.bind(7, email.instance);
  insert.bind(8, email.handled_at);
  insert.exec();
}
