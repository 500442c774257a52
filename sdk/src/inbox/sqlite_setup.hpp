#pragma once

// What the inbox's connection to a SQLite file needs before it is used.

#include "inbox/table_names.hpp"

#include <SQLiteCpp/Database.h>

#include <string>

namespace tidings {

/// Opens or makes the file, and makes the tables that are missing. Throws SettingError for a URL that is not
/// of SQLite, and DatabaseError naming the file.
[[nodiscard]] SQLite::Database open_inbox(const std::string& url, TableNames& names);

}  // namespace tidings
