#include "welcome_email.hpp"

#include <tidings/timestamp.hpp>

#include <SQLiteCpp/VariadicBind.h>

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
  SQLite::bind(insert, email.user_id, email.event_id, email.address, email.name, email.subject, email.body,
               email.instance, email.handled_at);
  insert.exec();
}
