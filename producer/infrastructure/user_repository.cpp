#include "infrastructure/user_repository.hpp"

#include "infrastructure/statement_run.hpp"

namespace tidings {

// `user` is a keyword in PostgreSQL, hence the quotes.
struct UserRepository::Statements {
  explicit Statements(SQLite::Database& database)
      : insert(database,
               "INSERT INTO \"user\" (id, email, name, emailVerified, createdAt) VALUES (?, ?, ?, ?, ?) "
               "ON CONFLICT (email) DO NOTHING"),
        find_by_email(database,
                      "SELECT id, email, name, emailVerified, createdAt FROM \"user\" WHERE email = ?") {}

  SQLite::Statement insert, find_by_email;
};

UserRepository::UserRepository(Database& database) : database_(database) {
  statements_ = attempt("use the table user in " + database.path(),
                        [&] { return std::make_unique<Statements>(database.handle()); });
}

UserRepository::~UserRepository() = default;

bool UserRepository::insert(Transaction& transaction, const User& user) {
  if (&transaction.database() != &database_.handle())
    throw DatabaseError("cannot write a user: the transaction is on another connection than its repository");
  return attempt("write a user", [&] {
    const auto created_at = to_iso8601(user.created_at);
    return StatementRun{statements_->insert}
               .bind(user.id, user.email, user.name, user.email_verified ? 1 : 0, created_at)
               .exec() == 1;
  });
}

std::optional<User> UserRepository::find_by_email(const std::string& email) {
  return attempt("read a user", [&]() -> std::optional<User> {
    StatementRun run{statements_->find_by_email};
    if (!run.bind(email).next()) return std::nullopt;
    return User{.id = read_text(run.column(0)),
                .email = read_text(run.column(1)),
                .name = read_text(run.column(2)),
                .email_verified = run.column(3).getInt() != 0,
                .created_at = read_time(run.column(4))};
  });
}

}  // namespace tidings
