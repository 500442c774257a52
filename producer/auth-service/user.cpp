#include "user.hpp"

#include "users_schema.hpp"

namespace tidings {

std::string_view UserRepository::schema(Database::Kind kind) noexcept {
  return kind == Database::Kind::sqlite ? schema::sqlite_users : schema::postgres_users;
}

// `user` is a keyword in PostgreSQL, hence the quotes.
bool UserRepository::insert(Transaction& transaction, const User& user) {
  database_.require_own(transaction);
  return attempt("write a user", [&] {
    const auto written = database_.exec(
        R"sql(
        INSERT INTO "user" (id, email, name, "emailVerified", "createdAt")
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING)sql",
        user.id, user.email, user.name, user.email_verified ? 1 : 0, to_iso8601(user.created_at));
    return written.affected == 1;
  });
}

}  // namespace tidings
