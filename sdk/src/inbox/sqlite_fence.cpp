#include "inbox/sqlite_fence.hpp"

#include "database/statement_run.hpp"
#include "inbox/tenure_store.hpp"

#include <SQLiteCpp/Transaction.h>

namespace tidings {

bool SqliteFence::is_strict() { return StatementRun{is_strict_}.bind(group_).next(); }

void SqliteFence::make_strict() {
  SQLite::Transaction transaction{database_.database, SQLite::TransactionBehavior::IMMEDIATE};
  for (const auto* const row :
       {"inbox_order(group_id, tenure) VALUES (?, '')", "inbox_beat(group_id, beat) VALUES (?, 0)"}) {
    SqliteTables::Statement insert{database_, std::string("INSERT INTO ") + row + " ON CONFLICT DO NOTHING"};
    StatementRun{insert}.bind(group_).exec();
  }
  transaction.commit();
}

void SqliteFence::require_tenure() {
  if (!tenure_.empty() && StatementRun{beat_}.bind(group_, group_, tenure_).exec() != 1) throw TenureLost();
}

}  // namespace tidings
