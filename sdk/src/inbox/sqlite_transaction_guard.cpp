#include "inbox/sqlite_transaction_guard.hpp"

#include <tidings/error.hpp>

#include <spdlog/spdlog.h>
#include <sqlite3.h>

#include <cstring>
#include <utility>

namespace tidings {
namespace {

// Also in the statements of sqlite_inbox.cpp.
constexpr const char* savepoint_name = "tidings_delivery";

constexpr const char* must_not_end =
    "a handler must not end the inbox's transaction (COMMIT, ROLLBACK, INSERT OR ROLLBACK): what it writes is "
    "committed together with the note that the event was handled";

}  // namespace

SqliteTransactionGuard::SqliteTransactionGuard(sqlite3* connection) : connection_(connection) {
  sqlite3_set_authorizer(connection_, authorize, this);
  sqlite3_commit_hook(connection_, on_commit, this);
  sqlite3_rollback_hook(connection_, on_rollback, this);
}

SqliteTransactionGuard::~SqliteTransactionGuard() {
  sqlite3_set_authorizer(connection_, nullptr, nullptr);
  sqlite3_commit_hook(connection_, nullptr, nullptr);
  sqlite3_rollback_hook(connection_, nullptr, nullptr);
}

sqlite3_stmt* SqliteTransactionGuard::newest_statement() const noexcept {
  return sqlite3_next_stmt(connection_, nullptr);
}

void SqliteTransactionGuard::remember_own(sqlite3_stmt* before) noexcept {
  newest_own_ = oldest_own_ = newest_statement();
  while (auto* const older = sqlite3_next_stmt(connection_, oldest_own_)) {
    if (older == before) break;
    oldest_own_ = older;
  }
}

void SqliteTransactionGuard::begun() noexcept {
  state_ = State::guarded;
  end_tried_ = false;
}

void SqliteTransactionGuard::ended() noexcept {
  state_ = State::none;
  end_tried_ = false;
}

/// Only what is prepared comes here: a statement that was prepared before meets the hooks.
int SqliteTransactionGuard::authorize(void* guard, int action, const char* operation, const char* name,
                                      const char*, const char*) {
  auto& self = *static_cast<SqliteTransactionGuard*>(guard);
  if (self.own_) return SQLITE_OK;
  if (action == SQLITE_SAVEPOINT) return sqlite3_stricmp(name, savepoint_name) == 0 ? SQLITE_DENY : SQLITE_OK;
  if (action != SQLITE_TRANSACTION || self.state_ != State::guarded) return SQLITE_OK;
  if (std::strcmp(operation, "BEGIN") == 0) return SQLITE_OK;  // fails by itself
  self.end_tried_ = true;
  return SQLITE_DENY;
}

int SqliteTransactionGuard::on_commit(void* guard) {
  auto& self = *static_cast<SqliteTransactionGuard*>(guard);
  if (self.own_ || self.state_ == State::none) return 0;
  self.end_tried_ = true;
  return 1;
}

void SqliteTransactionGuard::on_rollback(void* guard) {
  auto& self = *static_cast<SqliteTransactionGuard*>(guard);
  if (!self.own_ && self.state_ == State::guarded) self.state_ = State::lost;
}

void SqliteTransactionGuard::require_kept() const {
  if (state_ == State::lost) throw DatabaseError(must_not_end);
}

void SqliteTransactionGuard::require_not_tried() const {
  if (const char* const told = complaint(); *told != '\0') throw DatabaseError(told);
}

const char* SqliteTransactionGuard::complaint() const noexcept {
  return end_tried_ || state_ == State::lost ? must_not_end : "";
}

void SqliteTransactionGuard::reset_statements() {
  for (auto* statement = newest_statement(); statement != nullptr;
       statement = sqlite3_next_stmt(connection_, statement)) {
    if (statement == newest_own_) statement = oldest_own_;
    if (sqlite3_stmt_busy(statement) == 0) continue;
    const char* const text = sqlite3_sql(statement);
    if (text == nullptr) continue;  // of an open blob, which still reads from it
    if (!std::exchange(warned_, true))
      spdlog::warn(
          "inbox: a handler left a statement before its end, which is reset now: reset it, or let it end with "
          "its scope; told once: {}",
          text);
    sqlite3_reset(statement);
  }
}

}  // namespace tidings
