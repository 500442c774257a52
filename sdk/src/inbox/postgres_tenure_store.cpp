#include "inbox/postgres_tenure_store.hpp"

#include "inbox/postgres_tables.hpp"

#include <tidings/postgres_connection.hpp>
#include <tidings/postgres_error.hpp>

#include <utility>

namespace tidings {
namespace {

class PostgresTenures final : public TenureStore {
 public:
  PostgresTenures(const std::string& url, const std::string& prefix, std::string group,
                  std::chrono::milliseconds patience)
      : database_(url), own_(database_, prefix), group_(std::move(group)), patience_(patience) {}

  Seen look() override {
    return run([this] {
      const auto rows = own_.exec(
          "SELECT tenure, beat FROM inbox_order JOIN inbox_beat USING (group_id) WHERE group_id = $1",
          group_);
      if (rows.empty()) return Seen{};
      return Seen{std::string{rows.text(0, 0)}, rows.integer(0, 1)};
    });
  }

  /// An owner that stands still before its fence has claims that are not committed, which the successor would
  /// wait for; behind its fence, it has the lock that this waits for. So its sessions are ended, and once
  /// more those that it began meanwhile.
  bool take(const Seen& seen, const std::string& tenure) override {
    return run([&] {
      if (look() != seen) return false;
      end_sessions(seen.tenure);
      own_.queue("BEGIN");
      own_.queue("SET LOCAL lock_timeout = " + std::to_string(patience_.count()));
      const bool same = !own_.exec("SELECT 1 FROM inbox_order WHERE group_id = $1 AND tenure = $2 FOR UPDATE",
                                   group_, seen.tenure)
                             .empty() &&
                        look() == seen;
      if (same) {
        own_.exec("UPDATE inbox_order SET tenure = $2 WHERE group_id = $1", group_, tenure);
        own_.exec("UPDATE inbox_beat SET beat = beat + 1 WHERE group_id = $1", group_);
      }
      own_.exec("COMMIT");
      if (same) end_sessions(seen.tenure);
      return same;
    });
  }

  bool beat(const std::string& tenure) override {
    return run([&] {
      return !own_.exec(R"sql(
          UPDATE inbox_beat SET beat = beat + 1 WHERE group_id = $1
             AND EXISTS (SELECT 1 FROM inbox_order WHERE group_id = $1 AND tenure = $2) RETURNING beat)sql",
                        group_, tenure)
                  .empty();
    });
  }

  void release(const std::string& tenure) override {
    run([&] {
      own_.exec("UPDATE inbox_order SET tenure = '' WHERE group_id = $1 AND tenure = $2", group_, tenure);
      return true;
    });
  }

 private:
  void end_sessions(const std::string& tenure) {
    if (tenure.empty()) return;
    own_.exec(R"sql(
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND usename = current_user AND application_name = $1)sql",
              session_of(tenure));
  }

  template <class Work>
  auto run(Work&& work) -> decltype(work()) {
    try {
      database_.connect();
      return std::forward<Work>(work)();
    } catch (const PostgresError& error) {
      database_.rollback();
      throw DatabaseError(std::string("inbox: ") + error.what(), Error::Retry::yes);
    }
  }

  PostgresConnection database_;
  PostgresTables own_;
  const std::string group_;  // its id
  const std::chrono::milliseconds patience_;
};

}  // namespace

std::string session_of(const std::string& tenure) { return "tidings " + tenure; }

std::unique_ptr<TenureStore> open_postgres_tenures(const std::string& url, const std::string& table_prefix,
                                                   const std::string& group,
                                                   std::chrono::milliseconds patience) {
  return std::make_unique<PostgresTenures>(url, table_prefix, group, patience);
}

}  // namespace tidings
