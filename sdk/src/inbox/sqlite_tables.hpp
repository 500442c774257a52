#pragma once

// A connection to SQLite, for statements on the inbox's own tables.

#include "inbox/table_names.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <string>

namespace tidings {

/// Both must outlive it.
struct SqliteTables {
  /// Prepared with the names that the tables have.
  class Statement : public SQLite::Statement {
   public:
    Statement(const SqliteTables& tables, const std::string& sql)
        : SQLite::Statement(tables.database, tables.names.in(sql)) {}
  };

  SQLite::Database& database;
  TableNames& names;
};

}  // namespace tidings
