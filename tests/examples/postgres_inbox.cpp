#include <tidings/postgres_inbox.hpp>

void make_tables(tidings::PostgresInbox& inbox) {
  inbox.database().exec("CREATE TABLE IF NOT EXISTS welcome_email(user_id text PRIMARY KEY, address text)");
}
