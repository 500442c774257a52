#include "infrastructure/checkpointer.hpp"

#include "infrastructure/statement_run.hpp"

#include <sqlite3.h>

namespace tidings {
namespace {

constexpr int large = 1000;  // pages; SQLite's own limit

}  // namespace

Checkpointer::Checkpointer(Database& database) : database_(database) {
  sqlite3_wal_hook(database_.handle().getHandle(), on_commit, this);
}

Checkpointer::~Checkpointer() { sqlite3_wal_autocheckpoint(database_.handle().getHandle(), large); }

int Checkpointer::on_commit(void* self, sqlite3*, const char*, int pages) {
  auto& own = *static_cast<Checkpointer*>(self);
  own.committed_at_ = Clock::now();
  own.pages_ = pages;
  return SQLITE_OK;
}

void Checkpointer::run_if_due() {
  if (pages_ < large) return;
  attempt("move the WAL to " + database_.path(), [&] {
    SQLite::Statement checkpoint{database_.handle(), "PRAGMA wal_checkpoint(PASSIVE)"};
    StatementRun run{checkpoint};
    run.next();
  });
  pages_ = 0;
}

}  // namespace tidings
