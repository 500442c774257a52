#include "inbox/event_key.hpp"
#include "inbox/inbox.hpp"
#include "inbox/postgres_attempts.hpp"
#include "inbox/postgres_claims.hpp"
#include "inbox/postgres_pruner.hpp"
#include "inbox/postgres_setup.hpp"
#include "inbox/postgres_tenure_store.hpp"

#include <tidings/error.hpp>
#include <tidings/postgres_inbox.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tidings {
namespace {

constexpr const char* in_failed_transaction = "25P02";  // SQLSTATE

}  // namespace

class PostgresInbox::Tables final : public Inbox {
 public:
  Tables(const std::string& url, const InboxOptions& options)
      : database(require_postgresql(url)),
        url_(url),
        prefix_(options.table_prefix),
        own_(database, options.table_prefix) {
    try {
      connect();
      keeps_positions_ = make_inbox_tables(own_);
      tell_crash_losses(own_);
    } catch (const PostgresError& error) {
      throw DatabaseError("cannot make the inbox tables in " + database.name() + ": " + error.what(),
                          error.retryable() ? Error::Retry::yes : Error::Retry::no);
    }
  }

  void join(const std::string& group) override {
    if (!group_.empty())
      throw Error("this inbox already serves a consumer: give each its own PostgresInbox object");
    try {
      own_.exec("INSERT INTO inbox_group(name) VALUES ($1) ON CONFLICT DO NOTHING", group);
      group_ = own_.exec("SELECT id FROM inbox_group WHERE name = $1", group).text(0, 0);
    } catch (const PostgresError& error) {
      throw DatabaseError("cannot join the group " + group + " in the inbox " + database.name() + ": " +
                          error.what());
    }
  }

  bool is_strict() override {
    if (own_.exec("SELECT to_regclass('inbox_order')").text(0, 0).empty()) return false;  // an older schema
    return !own_.exec("SELECT 1 FROM inbox_order JOIN inbox_beat USING (group_id) WHERE group_id = $1",
                      group_)
                .empty();
  }
  void make_strict() override {
    own_.exec(R"sql(
        WITH noted AS (INSERT INTO inbox_order(group_id, tenure) VALUES ($1, '') ON CONFLICT DO NOTHING)
        INSERT INTO inbox_beat(group_id, beat) VALUES ($1, 0) ON CONFLICT DO NOTHING)sql",
              group_);
  }
  std::unique_ptr<TenureStore> open_tenures(std::chrono::milliseconds patience) override {
    return open_postgres_tenures(url_, prefix_, group_, patience);
  }
  void fence(const std::string& tenure) override { tenure_ = tenure; }

  void begin() override {
    rollback();
    connect();
    take_claims_back();
    database.queue("BEGIN");
    if (database.pooled()) queue_transaction_set_up(database);
    // By its name, a successor finds and ends the session of an owner that stands still.
    if (!tenure_.empty()) database.queue("SET LOCAL application_name = '" + session_of(tenure_) + "'");
    database.keep_transaction(true);
  }

  void commit() override {
    database.require_kept_transaction();  // without one, COMMIT would not fail
    database.keep_transaction(false);
    delete_not_taken();
    ahead_.clear();
    require_tenure();
    const auto done = database.exec("COMMIT");
    // A transaction that an earlier error has ended is rolled back by COMMIT without an error.
    if (done.command() != "COMMIT")
      throw PostgresError("the transaction was rolled back by an error before", in_failed_transaction);
  }

  void rollback() noexcept override {
    const bool committed = database.committed_in_part_;
    database.keep_transaction(false);
    database.rollback();
    if (committed) {
      // The claims of events whose handlers have not started or not finished.
      for (const auto& [id, row] : ahead_)
        if (row.state == Ahead::State::written) claims_to_take_back_.emplace_back(row.row.key);
      if (!claimed_.empty()) claims_to_take_back_.emplace_back(claimed_row_);
      try {
        take_claims_back();
      } catch (const std::exception&) {  // begin() tries again
      }
    }
    ahead_.clear();
    claimed_.clear();
  }

  void interrupt() noexcept override { database.cut(); }
  [[nodiscard]] bool in_transaction() const noexcept override {
    return database.connected() && database.in_transaction();
  }

  void savepoint() override { database.queue("SAVEPOINT delivery"); }
  void release_savepoint() override {
    database.require_nothing_queued_failed();
    database.queue("RELEASE SAVEPOINT delivery");
    claimed_.clear();
  }
  void rollback_to_savepoint() override {
    database.require_nothing_queued_failed();
    database.exec("ROLLBACK TO SAVEPOINT delivery");
    database.end_tried_ = false;  // ending the transaction was refused, or the savepoint would be gone
  }

  void require_sound() const override { database.require_sound(); }
  [[nodiscard]] std::string remark_on_failure() const override { return database.complaint(); }

  [[nodiscard]] bool claims_ahead() const noexcept override { return true; }
  void claim_ahead(const std::vector<EventIdentity>& events) override {
    for (const auto& event : events) ahead_.emplace(EventKey{event}.unique(), Ahead{});
    for (auto& [unique, row] : write_claims(own_, group_, events))
      ahead_[unique] = {Ahead::State::written, std::move(row)};
  }

  bool claim(const EventIdentity& event) override {
    const EventKey key{event};
    if (const auto found = ahead_.find(key.unique()); found != ahead_.end()) {
      if (found->second.state != Ahead::State::written) return false;
      found->second.state = Ahead::State::taken;
      claimed_row_ = found->second.row.key;
    } else {
      const auto written = write_claims(own_, group_, {event});
      if (written.empty()) return false;
      claimed_row_ = written.begin()->second.key;
    }
    claimed_ = key.unique();
    return true;
  }

  void unclaim() override {
    if (const auto taken = ahead_.find(claimed_); taken != ahead_.end())
      taken->second.state = Ahead::State::written;
    else
      own_.plan_and_exec("DELETE FROM inbox WHERE group_id = $1 AND event_id = $2::bytea", group_,
                         claimed_row_);
    claimed_.clear();
  }

  bool handled(const EventIdentity& event) override { return is_handled(own_, group_, event); }

  std::optional<Attempts> attempts(const EventIdentity& event) override {
    return read_attempts(own_, group_, event);
  }
  void record_attempts(const EventIdentity& event, const Attempts& attempts) override {
    write_attempts(own_, group_, event, attempts);
  }
  void forget_attempts(const EventIdentity& event) override { delete_attempts(own_, group_, event); }

  bool keeps_positions() const noexcept override { return keeps_positions_; }

  std::optional<Position> position(const std::string& stream) override {
    if (!keeps_positions_) return std::nullopt;
    const auto rows =
        own_.exec("SELECT stream_created, settled_to FROM inbox_position WHERE group_id = $1 AND stream = $2",
                  group_, stream);
    if (rows.empty()) return std::nullopt;
    return Position{std::string{rows.text(0, 0)}, static_cast<std::uint64_t>(rows.integer(0, 1))};
  }

  void keep_position(const std::string& stream, const Position& position) override {
    if (!keeps_positions_) return;
    own_.exec(R"sql(
        INSERT INTO inbox_position(group_id, stream, stream_created, settled_to) VALUES ($1, $2, $3, $4)
        ON CONFLICT (group_id, stream) DO UPDATE SET
            stream_created = excluded.stream_created, settled_to = excluded.settled_to, updated_at = now())sql",
              group_, stream, position.stream_created, static_cast<std::int64_t>(position.settled_to));
  }

  bool has_handled_events() override {
    return !own_.exec("SELECT 1 FROM inbox WHERE group_id = $1 LIMIT 1", group_).empty();
  }

  bool prune(std::chrono::hours age, int limit) override { return pruner_.prune(group_, age, limit); }

  /// A cancelled queued statement came from a handler; retrying later will not make it faster.
  bool is_transient(const std::exception& error) const noexcept override {
    const auto* own = dynamic_cast<const PostgresError*>(&error);
    return own != nullptr && own->retryable() && !(own->cancelled() && own->queued());
  }
  bool is_transient_in_handler(const std::exception& error) const noexcept override {
    const auto* own = dynamic_cast<const PostgresError*>(&error);
    return own != nullptr && own->retryable() && !own->cancelled();
  }

  PostgresConnection database;
  PostgresTransaction transaction{database};

 private:
  void require_tenure() {
    if (tenure_.empty()) return;
    const auto rows =
        own_.exec("SELECT 1 FROM inbox_order WHERE group_id = $1 AND tenure = $2 FOR SHARE", group_, tenure_);
    if (rows.empty()) throw TenureLost();
  }

  /// An event that claim_ahead() was called for.
  struct Ahead {
    enum class State { there_before, written, taken } state = State::there_before;
    ClaimRow row;
  };

  /// By ctid: nobody else moves our rows, and a planner that expects few per key would scan the table. Where
  /// it is partitioned, others have the same ctid, so the key is compared as well, as expressions without an
  /// index.
  void delete_not_taken() {
    std::string places;
    std::vector<std::optional<std::string>> keys;
    for (const auto& [id, row] : ahead_) {
      if (row.state != Ahead::State::written) continue;
      places += (places.empty() ? "{\"" : ",\"") + row.row.place + '"';
      keys.emplace_back(row.row.key);
    }
    if (keys.empty()) return;
    own_.plan_and_exec(R"sql(
        DELETE FROM inbox WHERE ctid = ANY ($1::tid[])
           AND group_id + 0 = $2 AND event_id || '' = ANY ($3::bytea[]))sql",
                       places + "}", group_, bytea_array(keys));
  }

  void connect() {
    if (!database.connect() || database.pooled()) return;
    try {
      set_up_session(database);
    } catch (const PostgresError&) {
      database.disconnect();  // every connection must be set up
      throw;
    }
  }

  /// Deletes claims that a handler committed too early.
  void take_claims_back() {
    if (claims_to_take_back_.empty()) return;
    std::ranges::sort(claims_to_take_back_);  // so that no two statements wait for each other in a circle
    own_.plan_and_exec("DELETE FROM inbox WHERE group_id = $1 AND event_id = ANY ($2::bytea[])", group_,
                       bytea_array(claims_to_take_back_));
    claims_to_take_back_.clear();
  }

  const std::string url_, prefix_;
  PostgresTables own_;
  std::string tenure_;  // that commits are checked against
  bool keeps_positions_ = true;
  std::string group_;                             // its id in the database
  std::unordered_map<std::string, Ahead> ahead_;  // by EventKey::unique()
  std::string claimed_, claimed_row_;             // the event whose handler runs, and its row's key
  // Keys of rows that a handler has committed too early.
  std::vector<std::optional<std::string>> claims_to_take_back_;
  PostgresPruner pruner_{own_};
};

PostgresInbox::PostgresInbox(const std::string& url, const InboxOptions& options)
    : tables_(std::make_unique<Tables>(url, options)) {}

PostgresInbox::~PostgresInbox() = default;

PostgresConnection& PostgresInbox::database() noexcept { return tables_->database; }

PostgresTransaction& PostgresInbox::transaction() noexcept { return tables_->transaction; }

Inbox& PostgresInbox::tables() noexcept { return *tables_; }

}  // namespace tidings
