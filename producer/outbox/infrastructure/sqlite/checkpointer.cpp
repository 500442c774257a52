#include "infrastructure/sqlite/checkpointer.hpp"

#include "database/statement_run.hpp"

#include <sqlite3.h>

namespace tidings {
namespace {

constexpr int large = 1000;  // pages; SQLite's own limit

}  // namespace

Checkpointer::Checkpointer(SQLite::Database& database) : database_(database) {
  sqlite3_wal_hook(database_.getHandle(), on_commit, this);
}

Checkpointer::~Checkpointer() { sqlite3_wal_autocheckpoint(database_.getHandle(), large); }

int Checkpointer::on_commit(void* self, sqlite3*, const char*, int pages) {
  static_cast<Checkpointer*>(self)->pages_ = pages;
  return SQLITE_OK;
}

void Checkpointer::run_if_due() {
  if (pages_ < large) return;
  SQLite::Statement checkpoint{database_, "PRAGMA wal_checkpoint(PASSIVE)"};
  StatementRun run{checkpoint};
  run.next();
  pages_ = 0;
}

}  // namespace tidings
