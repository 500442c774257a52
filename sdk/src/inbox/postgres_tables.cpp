#include "inbox/postgres_tables.hpp"

#include "inbox/schema/schema.hpp"

namespace tidings {
namespace {

constexpr const char* not_allowed = "42501";  // a SQLSTATE

bool may_keep_positions(PostgresConnection& database) {
  return database
             .exec(R"sql(
          SELECT 1 WHERE (SELECT bool_and(has_table_privilege(to_regclass('inbox_position'), needed))
                            FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed))sql")
             .size() == 1;
}

}  // namespace

bool make_inbox_tables(PostgresConnection& database) {
  try {
    database.script(inbox_schema::postgres);
    return true;
  } catch (const PostgresError& error) {
    if (error.sqlstate() != not_allowed) throw;
    database.rollback();
    try {
      database.exec("SELECT state, next_attempt_at FROM inbox_group, inbox, inbox_attempt LIMIT 0");
      return may_keep_positions(database);
    } catch (const PostgresError&) {
      throw error;
    }
  }
}

}  // namespace tidings
