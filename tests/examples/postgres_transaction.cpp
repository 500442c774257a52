#include <tidings/postgres_transaction.hpp>

// A handler's statements are committed together with the note that its event was handled.
void write(tidings::PostgresTransaction& tx, const std::string& user, const std::string& address) {
  tx.queue("INSERT INTO welcome_email VALUES ($1, $2)", user, address);
  if (tx.exec("UPDATE account SET welcomed = $1 WHERE id = $2", true, user) == 0)
    tx.savepoint([&] { tx.exec("INSERT INTO account VALUES ($1)", user); });
}
