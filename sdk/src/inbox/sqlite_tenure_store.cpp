#include "inbox/sqlite_tenure_store.hpp"

#include "database/statement_run.hpp"
#include "inbox/sqlite_tables.hpp"

#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Transaction.h>
#include <sqlite3.h>

#include <chrono>
#include <utility>

namespace tidings {
namespace {

class SqliteTenures final : public TenureStore {
 public:
  SqliteTenures(const std::string& path, TableNames names, std::int64_t group,
                std::chrono::milliseconds patience)
      : names_(std::move(names)),
        database_(path, SQLite::OPEN_READWRITE, static_cast<int>(patience.count())),
        group_(group),
        patience_(patience) {}

  Seen look() override {
    return run([this] {
      StatementRun row{look_};
      if (!row.bind(group_).next()) return Seen{};
      return Seen{row.column(0).getString(), row.column(1).getInt64()};
    });
  }

  /// BEGIN IMMEDIATE waits until the owner's transaction has ended: what that has committed is seen. Who
  /// has waited for long may be before an owner whose beat has waited for as long.
  bool take(const Seen& seen, const std::string& tenure) override {
    return run([&] {
      const auto begun = std::chrono::steady_clock::now();
      SQLite::Transaction transaction{database_, SQLite::TransactionBehavior::IMMEDIATE};
      if (std::chrono::steady_clock::now() - begun > patience_ / 2)
        throw SQLite::Exception("the file was locked", SQLITE_BUSY);
      if (look() != seen) return false;
      StatementRun{take_}.bind(tenure, group_).exec();
      StatementRun{beat_}.bind(group_, group_, tenure).exec();
      transaction.commit();
      return true;
    });
  }

  bool beat(const std::string& tenure) override {
    return run([&] { return StatementRun{beat_}.bind(group_, group_, tenure).exec() == 1; });
  }

  void release(const std::string& tenure) override {
    run([&] { return StatementRun{release_}.bind(group_, tenure).exec(); });
  }

 private:
  template <class Work>
  auto run(Work&& work) -> decltype(work()) {
    try {
      return std::forward<Work>(work)();
    } catch (const SQLite::Exception& error) {
      throw DatabaseError(std::string("inbox: ") + error.what(), Error::Retry::yes);
    }
  }

  using Statement = SqliteTables::Statement;

  TableNames names_;
  SQLite::Database database_;
  const SqliteTables tables_{database_, names_};
  const std::int64_t group_;
  const std::chrono::milliseconds patience_;
  Statement look_{tables_, R"sql(
      SELECT tenure, beat FROM inbox_order JOIN inbox_beat USING (group_id) WHERE group_id = ?)sql"};
  Statement take_{tables_, "UPDATE inbox_order SET tenure = ? WHERE group_id = ?"};
  Statement beat_{tables_, R"sql(
      UPDATE inbox_beat SET beat = beat + 1 WHERE group_id = ?
         AND EXISTS (SELECT 1 FROM inbox_order WHERE group_id = ? AND tenure = ?))sql"};
  Statement release_{tables_, "UPDATE inbox_order SET tenure = '' WHERE group_id = ? AND tenure = ?"};
};

}  // namespace

std::unique_ptr<TenureStore> open_sqlite_tenures(const std::string& path, TableNames names,
                                                 std::int64_t group, std::chrono::milliseconds patience) {
  try {
    return std::make_unique<SqliteTenures>(path, std::move(names), group, patience);
  } catch (const SQLite::Exception& error) {
    throw DatabaseError("cannot open the inbox " + path + ": " + error.what());
  }
}

}  // namespace tidings
