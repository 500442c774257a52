#include "user_repository.hpp"

#include "users_schema.hpp"

namespace tidings {

// `user` is a keyword in PostgreSQL, hence the quotes.

std::string_view UserRepository::schema(Database::Kind kind) noexcept {
  return kind == Database::Kind::sqlite ? schema::sqlite_users : schema::postgres_users;
}

bool UserRepository::insert(Transaction& transaction, const User& user) {
  database_.require_own(transaction);
  return attempt("write a user", [&] {
    return database_
               .exec(
                   R"sql(
            INSERT INTO "user" (id, email, name, "emailVerified", "createdAt")
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING)sql",
                   user.id, user.email, user.name, user.email_verified ? 1 : 0, to_iso8601(user.created_at))
               .affected == 1;
  });
}

std::optional<User> UserRepository::find_by_email(const std::string& email) {
  // SQLite's column ignores case; PostgreSQL has an index on this expression.
  const std::string same = database_.kind() == Database::Kind::sqlite
                               ? "email = $1"
                               : R"sql(lower(email COLLATE "C") = lower($1::text COLLATE "C"))sql";
  return attempt("read a user", [&]() -> std::optional<User> {
    const auto rows = database_.exec(
        R"sql(SELECT id, email, name, "emailVerified", "createdAt" FROM "user" WHERE )sql" + same, email);
    if (rows.empty()) return std::nullopt;
    const auto verified = rows.text(0, 3);
    return User{.id = rows.text(0, 0),
                .email = rows.text(0, 1),
                .name = rows.text(0, 2),
                .email_verified = verified == "1" || verified == "t",
                .created_at = parse_timestamp(rows.text(0, 4)).value_or(Timestamp{})};
  });
}

}  // namespace tidings
