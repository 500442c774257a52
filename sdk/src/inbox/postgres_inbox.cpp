#include "inbox/postgres_inbox_tables.hpp"

#include <tidings/postgres_inbox.hpp>

namespace tidings {

PostgresInbox::PostgresInbox(const std::string& url) : tables_(std::make_unique<PostgresInboxTables>(url)) {}

PostgresInbox::~PostgresInbox() = default;

PostgresConnection& PostgresInbox::database() noexcept { return tables_->database(); }

PostgresTransaction& PostgresInbox::transaction() noexcept { return tables_->transaction(); }

Inbox& PostgresInbox::tables() noexcept { return *tables_; }

}  // namespace tidings
