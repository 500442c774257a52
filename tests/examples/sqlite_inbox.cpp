#include <tidings/sqlite_inbox.hpp>

void make_tables(tidings::SqliteInbox& inbox) {
  inbox.database().exec("CREATE TABLE IF NOT EXISTS welcome_email(user_id TEXT PRIMARY KEY, address TEXT)");
}
