#include "inbox/sqlite_inbox_tables.hpp"

#include <tidings/sqlite_inbox.hpp>

namespace tidings {

SqliteInbox::SqliteInbox(const std::string& url) : tables_(std::make_unique<SqliteInboxTables>(url)) {}

SqliteInbox::~SqliteInbox() = default;

SQLite::Database& SqliteInbox::database() noexcept { return tables_->database(); }

Inbox& SqliteInbox::tables() noexcept { return *tables_; }

}  // namespace tidings
