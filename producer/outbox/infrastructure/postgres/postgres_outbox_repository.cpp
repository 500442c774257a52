#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/postgres/postgres_database.hpp"
#include "infrastructure/postgres/postgres_outcomes.hpp"
#include "infrastructure/postgres/scan_statement.hpp"
#include "infrastructure/postgres/snapshot_scans.hpp"
#include "infrastructure/postgres/text_array.hpp"
#include "infrastructure/postgres/transaction_ties.hpp"

#include <tidings/outbox_insert.hpp>
#include <tidings/outbox_repository.hpp>

#include <algorithm>
#include <cstdint>
#include <tuple>

namespace tidings {
namespace {

using namespace outbox_columns;

constexpr auto kind = Database::Kind::postgresql;
constexpr const char* beginning = "-infinity";  // before the first row

// By bytes: the database's own collation is slower, and may differ on another host.
const std::string in_order = R"sql( ORDER BY "createdAt", id COLLATE "C")sql";
const std::string and_ties = " + " + std::to_string(most_beyond_limit);
const std::string newest_first = R"sql( ORDER BY "createdAt" DESC, id COLLATE "C" DESC)sql";

/// What it knows of transactions holds for one server. After a reconnect, a restart, or a change of server
/// behind a pooler, read_pending() throws, and the caller makes a new repository.
class PostgresOutboxRepository final : public OutboxRepository {
 public:
  explicit PostgresOutboxRepository(PostgresDatabase& database)
      : OutboxRepository(database), postgres_(database), session_(database.session()) {}

  /// createdAt is the server's clock at the insert, not at the begin, and never before that of the
  /// aggregate's rows that the transaction sees: writers that a row lock puts in order stay in order.
  void add(Transaction& transaction, const DomainEvent& added) override;
  bool rewind() override;
  /// Not within a transaction, where PostgreSQL tells the next transaction id only once.
  void read_pending(int limit, std::vector<OutboxEvent>& out) override;
  [[nodiscard]] std::vector<OutboxEvent> read_aggregate(const AggregateRows& wanted, int limit) override;
  [[nodiscard]] int rows_of_aggregate_at_once() const noexcept override { return 1024; }
  [[nodiscard]] std::vector<OutboxEvent> read_retries(const OutboxPosition& after, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list(std::optional<RowStatus> status, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list_unknown_status(int limit) override;

 private:
  [[nodiscard]] ScanPage read_page(const ScanQuery& query);
  [[nodiscard]] std::vector<OutboxEvent> give_aggregate(SqlRows rows, int limit);
  void require_same_server(const std::string& started, TransactionId next);
  CleanupPage delete_published(const OutboxPosition& after, Timestamp before, int limit) override;
  SqlRows read_blocked(int limit) override;
  std::int64_t count_unknown_status() override;

  PostgresDatabase& postgres_;
  const int session_;
  std::string server_started_;  // empty until the first page
  TransactionId next_id_ = 0;
  SnapshotScans scans_;
};

void PostgresOutboxRepository::add(Transaction& transaction, const DomainEvent& added) {
  database_.require_own(transaction);
  std::apply([&](const auto&... texts) { postgres_.queue_by_index(outbox_insert::postgresql, texts...); },
             outbox_insert::parameters(added));
  postgres_.wake_relay_at_commit();
}

bool PostgresOutboxRepository::rewind() {
  scans_.start_over();
  return oldest_pending().has_value();
}

void PostgresOutboxRepository::read_pending(int limit, std::vector<OutboxEvent>& out) {
  attempt("read pending events", [&] {
    scans_.read(
        limit, SnapshotScans::Clock::now(), [this](const ScanQuery& query) { return read_page(query); }, out);
  });
}

ScanPage PostgresOutboxRepository::read_page(const ScanQuery& query) {
  auto rows = postgres_.query(scan_statement(), query.created_from, query.after.created_at, query.after.id,
                              query.unseen_from, query.late_from, query.limit);
  auto [page, server_started] = take_scan_answer(rows);
  require_same_server(server_started, page.next_id);
  return std::move(page);
}

/// Ids that were given out may be given out once more by a server that has taken another's place, or that has
/// lost what it had not written when it crashed. A pooler keeps our session through both.
void PostgresOutboxRepository::require_same_server(const std::string& started, TransactionId next) {
  if (postgres_.session() != session_ || (!server_started_.empty() && started != server_started_) ||
      next < next_id_)
    throw SqlError("the connection is a new one, perhaps to another server: reading starts over",
                   Error::Retry::yes);
  server_started_ = started;
  next_id_ = next;
}

/// Those of the millisecond of `after` may have smaller ids, so all of them are read which are not known to
/// be settled.
std::vector<OutboxEvent> PostgresOutboxRepository::read_aggregate(const AggregateRows& wanted, int limit) {
  const std::string of_aggregate = select(kind, Columns::event) + R"sql(
      WHERE "aggregateId" = $1 AND "aggregateType" = $2 AND )sql" +
                                   postgres_outcomes::not_settled;
  return attempt("read the events of an aggregate", [&] {
    const auto& after = wanted.after;
    if (wanted.with_first)
      if (auto rows = database_.exec(of_aggregate + " AND id = $3", wanted.aggregate_id,
                                     wanted.aggregate_type, after.id);
          !rows.empty())
        return give_aggregate(std::move(rows), limit);
    TextArray settled;
    settled.add(after.id);
    for (const auto& id : wanted.settled_beside) settled.add(id);
    return give_aggregate(
        database_.exec("SELECT * FROM (" + of_aggregate + R"sql(
            AND "createdAt" >= $3::timestamp AND ("createdAt" > $3::timestamp OR id <> ALL($4::text[]))
            ORDER BY "createdAt" FETCH FIRST $5 ROWS WITH TIES) AS earliest)sql" +
                           in_order + " LIMIT $5::bigint" + and_ties,
                       wanted.aggregate_id, wanted.aggregate_type,
                       after.created_at.empty() ? beginning : after.created_at, settled.text(), limit),
        limit);
  });
}

std::vector<OutboxEvent> PostgresOutboxRepository::give_aggregate(SqlRows rows, int limit) {
  auto read = take_written(rows);
  order_ties(read);
  cut_to(read, static_cast<std::size_t>(limit));
  std::vector<OutboxEvent> given;
  for (auto& row : read) {
    scans_.was_given(row.event.id, row.transaction);  // also when read_pending() has not reached it yet
    given.push_back(std::move(row.event));
  }
  return given;
}

std::vector<OutboxEvent> PostgresOutboxRepository::read_retries(const OutboxPosition& after, int limit) {
  return attempt("read failed events", [&] {
    return take_events(
        database_.exec(select(kind, Columns::header) + R"sql(
        WHERE status IN ('FAILED', 'PROCESSING') AND "createdAt" >= $1::timestamp
          AND ("createdAt", id COLLATE "C") > ($1::timestamp, $2::text))sql" +
                           in_order + " LIMIT $3",
                       after.created_at.empty() ? beginning : after.created_at, after.id, limit),
        kind);
  });
}

std::vector<OutboxRow> PostgresOutboxRepository::list(std::optional<RowStatus> status, int limit) {
  return attempt("list events", [&] {
    const auto rows = select(kind, Columns::listed);
    if (status)
      return take_rows(database_.exec(rows + R"sql( WHERE status = $2::"OutboxEventStatus")sql" +
                                          newest_first + " LIMIT $1",
                                      limit, to_string(*status)),
                       kind);
    // The newest of each status, by the index on (status, createdAt): createdAt alone has none.
    return take_rows(
        database_.exec(
            R"sql(SELECT newest.* FROM unnest(enum_range(NULL::"OutboxEventStatus")) AS each, LATERAL ()sql" +
                rows + " WHERE status = each" + newest_first + " LIMIT $1) AS newest" + newest_first +
                " LIMIT $1",
            limit),
        kind);
  });
}

// The values that somebody has added to the type of the column: mostly none.
const std::string unknown_statuses = R"sql(
    SELECT each FROM unnest(enum_range(NULL::"OutboxEventStatus")) AS each
    WHERE each::text NOT IN ('PENDING', 'PROCESSING', 'PUBLISHED', 'FAILED', 'DEAD_LETTER'))sql";

std::int64_t PostgresOutboxRepository::count_unknown_status() {
  return database_
      .exec("SELECT count(*) FROM (" + unknown_statuses +
            ") AS unknown, LATERAL (SELECT FROM outbox_event WHERE status = unknown.each) AS of_it")
      .integer(0, 0);
}

std::vector<OutboxRow> PostgresOutboxRepository::list_unknown_status(int limit) {
  return attempt("list events", [&] {
    return take_rows(database_.exec("SELECT newest.* FROM (" + unknown_statuses + ") AS unknown, LATERAL (" +
                                        select(kind, Columns::listed) + " WHERE status = unknown.each" +
                                        newest_first + " LIMIT $1) AS newest" + newest_first + " LIMIT $1",
                                    limit),
                     kind);
  });
}

OutboxRepository::CleanupPage PostgresOutboxRepository::delete_published(const OutboxPosition& after,
                                                                         Timestamp before, int limit) {
  const auto rows = database_.exec(
      R"sql(
      WITH page AS MATERIALIZED (
          SELECT * FROM (
              SELECT ctid AS place, id, "createdAt", coalesce("publishedAt", "updatedAt") AS at
              FROM outbox_event
              WHERE status = 'PUBLISHED' AND "createdAt" >= $1::timestamp AND "createdAt" < $3::timestamp
                AND ("createdAt", id COLLATE "C") > ($1::timestamp, $2::text)
              ORDER BY "createdAt" FETCH FIRST $4 ROWS WITH TIES) AS earliest)sql" +
          in_order + R"sql( LIMIT $4),
      mine AS MATERIALIZED (
          SELECT ctid AS place FROM outbox_event
          WHERE ctid = ANY (ARRAY(SELECT place FROM page WHERE at < $3::timestamp))
            AND status::text = 'PUBLISHED' FOR UPDATE SKIP LOCKED),
      gone AS (
          DELETE FROM outbox_event WHERE ctid = ANY (ARRAY(SELECT place FROM mine)) RETURNING 1)
      SELECT "createdAt", id, (SELECT count(*) FROM gone), (SELECT count(*) FROM page) FROM page)sql" +
          newest_first + " LIMIT 1",
      after.created_at.empty() ? beginning : after.created_at, after.id, to_iso8601(before), limit);
  if (rows.empty()) return {};
  return {.examined = static_cast<int>(rows.integer(0, 3)),
          .deleted = static_cast<int>(rows.integer(0, 2)),
          .last = {rows.text(0, 0), rows.text(0, 1)}};
}

SqlRows PostgresOutboxRepository::read_blocked(int limit) {
  return database_.exec(R"sql(
      SELECT "aggregateType", "aggregateId", id, "retryCount", "lastError", count(*) OVER ()
      FROM (SELECT DISTINCT ON ("aggregateId", "aggregateType") * FROM outbox_event
            WHERE status IN ('FAILED', 'PROCESSING')
            ORDER BY "aggregateId", "aggregateType", "createdAt", id COLLATE "C") AS heads)sql" +
                            in_order + " LIMIT $1",
                        limit);
}

}  // namespace

std::unique_ptr<OutboxRepository> PostgresDatabase::outbox() {
  return std::make_unique<PostgresOutboxRepository>(*this);
}

}  // namespace tidings
