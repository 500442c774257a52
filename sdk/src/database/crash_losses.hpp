#pragma once

#include <string>

namespace tidings {

/// Asks PostgreSQL what a crash may cost that was committed: a row for each reason, with what to do about it.
/// `tables` are their names as texts in SQL, with commas between them.
inline std::string crash_losses_of(const std::string& tables) {
  return R"sql(
      SELECT relname || ' is UNLOGGED: PostgreSQL empties it when it crashes',
             'ALTER TABLE ' || oid::regclass || ' SET LOGGED'
      FROM pg_class WHERE relpersistence = 'u' AND oid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest(ARRAY[)sql" +
         tables + R"sql(]) AS name))
      UNION ALL
      SELECT name || ' is off: a crash of the machine may damage or lose what was committed',
             name || ' = on in postgresql.conf'
      FROM unnest(ARRAY['fsync', 'full_page_writes']) AS name WHERE current_setting(name) = 'off')sql";
}

}  // namespace tidings
