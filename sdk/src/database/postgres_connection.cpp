#include "database/postgres_url.hpp"
#include "database/transaction_end.hpp"
#include "nats/redacted_url.hpp"

#include <tidings/postgres_connection.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>

namespace tidings {
namespace {

// SQLSTATE "feature not supported": waiting does not mend it.
constexpr const char* not_supported = "0A000";
constexpr const char* set_for_login =
    "; a pooler shares sessions: set it for the login (ALTER ROLE … SET search_path = …) and not in the URL";

// Of one session: statements that are made of ever new texts must not fill its memory, and ours.
constexpr std::size_t most_prepared = 200;

// Bytes are read in one form, whatever the login has set. A client's host that lost power keeps its locks for
// half a minute. PgBouncer does not keep these apart by client, and has keepalives of its own.
constexpr const char* settings_of_session =
    "SET bytea_output = hex; "
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  for (char& letter : text)
    if (letter == '\n') letter = ' ';
  return text;
}

std::string sqlstate(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state != nullptr ? state : "";
}

/// That a table or a type has changed, or that no statement of that name is prepared.
bool says_plan_is_invalid(const std::string& state) { return state == not_supported || state == "26000"; }

}  // namespace

bool PostgresError::trouble() const noexcept {
  if (sqlstate_.empty() || of_ == Of::kept_plan) return true;
  for (const char* group :
       {"08", "40", "53", "57", "58"})  // connection, rollback, resources, operator, system
    if (sqlstate_.starts_with(group)) return true;
  // Lock not available, a server that only reads (it was failed over), out of the data files' reach.
  return sqlstate_ == "55P03" || sqlstate_ == "25006" || sqlstate_ == "25P03" || sqlstate_ == "XX001";
}

PostgresRows::PostgresRows(PGresult* result) : result_(result, PQclear) {}

void PostgresRows::require() const {
  if (PQresultStatus(result_.get()) == PGRES_FATAL_ERROR)
    throw PostgresError(one_line(PQresultErrorMessage(result_.get())), sqlstate(result_.get()));
}

int PostgresRows::size() const noexcept { return PQntuples(result_.get()); }

int PostgresRows::columns() const noexcept { return PQnfields(result_.get()); }

std::string_view PostgresRows::command() const noexcept { return PQcmdStatus(result_.get()); }

std::int64_t PostgresRows::affected() const {
  const std::string_view text = PQcmdTuples(result_.get());
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

bool PostgresRows::is_null(int row, int column) const noexcept {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view PostgresRows::text(int row, int column) const noexcept {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::int64_t PostgresRows::integer(int row, int column) const {
  const auto digits = text(row, column);
  std::int64_t number = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc{})
    throw std::out_of_range("\"" + std::string{digits} + "\" is no whole number");
  return number;
}

PostgresConnection::PostgresConnection(const std::string& url) {
  auto parsed = PostgresUrl::parse(url);
  url_ = std::move(parsed.for_libpq);
  schema_ = std::move(parsed.schema);
}

PostgresConnection::~PostgresConnection() { PQfinish(connection_); }

bool PostgresConnection::connect() {
  if (connected() && !has_ended()) return false;
  PQfinish(connection_);
  prepared_.clear();
  queued_.clear();
  end_tried_ = keeps_transaction_;
  // A host that is gone is noticed within seconds; the URL may say otherwise, it comes last.
  const std::array<const char*, 9> names{"connect_timeout",  "keepalives_idle",  "keepalives_interval",
                                         "tcp_user_timeout", "application_name", "target_session_attrs",
                                         "client_encoding",  "dbname",           nullptr};
  const std::array<const char*, 9> values{"5",          "10",   "5",          "15000", "tidings",
                                          "read-write", "UTF8", url_.c_str(), nullptr};
  connection_ = PQconnectdbParams(names.data(), values.data(), 1);
  if (PQstatus(connection_) != CONNECTION_OK) {
    const auto why = one_line(PQerrorMessage(connection_));
    disconnect();
    // PgBouncer's words: its clients share sessions, and so their settings.
    const bool refuses_setting = why.find("unsupported startup parameter") != std::string::npos;
    throw PostgresError("cannot connect to " + name() + ": " + why + (refuses_setting ? set_for_login : ""),
                        refuses_setting ? not_supported : "");
  }
  PQsetNoticeProcessor(
      connection_, [](void*, const char*) {}, nullptr);
  try {
    pooled_ = begin_session();
    if (pooled_)
      require_transactions();
    else
      script(settings_of_session);
  } catch (...) {
    disconnect();
    throw;
  }
  return true;
}

void PostgresConnection::disconnect() noexcept {
  PQfinish(connection_);
  connection_ = nullptr;
  prepared_.clear();
  queued_.clear();
}

/// The server says so when it ends a session, and nobody reads that before the next statement fails.
bool PostgresConnection::has_ended() {
  pollfd descriptor{PQsocket(connection_), POLLIN, 0};
  while (::poll(&descriptor, 1, 0) != 0)  // its words first, then the end
    if (PQconsumeInput(connection_) != 1 || !connected()) return true;
  return false;
}

/// True for a pooler, which makes up the process id that it tells its clients. A date style is the client's
/// own there, too: the pooler is told of it, and sets it in each session that it gives.
bool PostgresConnection::begin_session() {
  const PostgresRows rows{PQexec(connection_, "SET datestyle = ISO; SELECT pg_backend_pid()")};
  if (!connected()) lost();
  rows.require();
  return rows.integer(0, 0) != PQbackendPID(connection_);
}

/// A pooler may give a session for a statement only, or drop in silence what the URL sets for the session.
void PostgresConnection::require_transactions() {
  const auto run = [this](const char* statement) {
    PostgresRows rows{PQexec(connection_, statement)};
    rows.require();
    return rows;
  };
  try {
    (void)run("BEGIN");
  } catch (const PostgresError& error) {
    // PgBouncer in statement mode just ends the connection, as in trouble that passes.
    throw PostgresError("cannot begin a transaction on " + name() + ": " + error.what() +
                            "; a pooler must be in transaction mode or session mode",
                        error.sqlstate());
  }
  if (!schema_.empty()) {
    const char* const schema = schema_.c_str();
    const PostgresRows same{PQexecParams(connection_,
                                         "SELECT current_setting('search_path') IN (quote_ident($1), "
                                         "'\"' || replace($1, '\"', '\"\"') || '\"')",
                                         1, nullptr, &schema, nullptr, nullptr, 0)};
    same.require();
    if (same.text(0, 0) != "t")
      throw PostgresError(
          "cannot use " + name() + ": the pooler does not pass on the schema " + schema_ + set_for_login,
          not_supported);
  }
  (void)run("ROLLBACK");
}

int PostgresConnection::socket() const noexcept {
  return connection_ == nullptr ? -1 : PQsocket(connection_);
}

int PostgresConnection::take_notifications() {
  if (!connected() || PQconsumeInput(connection_) != 1) lost();
  int count = 0;
  while (auto* notification = PQnotifies(connection_)) {
    PQfreemem(notification);
    ++count;
  }
  return count;
}

bool PostgresConnection::connected() const noexcept {
  return connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK;
}

bool PostgresConnection::in_transaction() const noexcept {
  return connected() && PQtransactionStatus(connection_) != PQTRANS_IDLE;
}

bool PostgresConnection::in_failed_transaction() const noexcept {
  return connected() && PQtransactionStatus(connection_) == PQTRANS_INERROR;
}

std::string PostgresConnection::name() const { return redacted_url(url_); }

void PostgresConnection::keep_transaction(bool keep) noexcept {
  keeps_transaction_ = keep;
  end_tried_ = false;
  committed_in_part_ = false;
}

void PostgresConnection::refuse_end(const std::string& statement) {
  if (!keeps_transaction_ || !ends_transaction(statement)) return;
  end_tried_ = true;
  throw PostgresError(kept_transaction, "2D000");
}

void PostgresConnection::enqueue(Command command) {
  refuse_end(command.statement);
  queued_.push_back(std::move(command));
}

void PostgresConnection::flush() {
  if (queued_.empty()) return;
  auto last = std::move(queued_.back());
  queued_.pop_back();
  (void)run(std::move(last));
}

PostgresRows PostgresConnection::run(Command last) {
  refuse_end(last.statement);
  // Never on a new connection by itself: a transaction that was lost would go on as single statements.
  if (!connected() || PQenterPipelineMode(connection_) != 1) lost();
  if (!in_transaction()) ++transactions_;
  std::vector<Answer> answers;
  for (const auto& command : std::exchange(queued_, {})) send(command, answers);
  const auto queued = answers.size();
  send(last, answers);
  if (PQpipelineSync(connection_) != 1) lost();
  return receive(answers, queued);
}

/// What is prepared is prepared at its first use, in the same round trip.
void PostgresConnection::send(const Command& command, std::vector<Answer>& answers) {
  std::vector<const char*> values;
  values.reserve(command.parameters.size());
  for (const auto& value : command.parameters) values.push_back(value ? value->c_str() : nullptr);
  auto known = prepared_.find(command.statement);
  const bool fresh = known == prepared_.end();
  if (pooled_ || !command.prepare || (fresh && prepared_.size() >= most_prepared)) {
    if (PQsendQueryParams(connection_, command.statement.c_str(), static_cast<int>(values.size()), nullptr,
                          values.data(), nullptr, nullptr, 0) != 1)
      lost();
    answers.push_back({Answer::To::statement});
    return;
  }
  if (fresh) {
    known =
        prepared_
            .emplace(command.statement, Prepared{"tidings_" + std::to_string(next_name_++), transactions_})
            .first;
    if (PQsendPrepare(connection_, known->second.name.c_str(), command.statement.c_str(), 0, nullptr) != 1)
      lost();
    answers.push_back({Answer::To::prepare, command.statement});
  }
  if (PQsendQueryPrepared(connection_, known->second.name.c_str(), static_cast<int>(values.size()),
                          values.data(), nullptr, nullptr, 0) != 1)
    lost();
  if (known->second.transaction == transactions_)
    answers.push_back({Answer::To::statement});
  else
    answers.push_back({Answer::To::kept_plan, command.statement});
}

/// Up to the sync that ends them; the first so many are of what was queued. Returns the last, or throws the
/// first error.
PostgresRows PostgresConnection::receive(const std::vector<Answer>& answers, std::size_t queued) {
  std::optional<PostgresRows> last;
  std::optional<PostgresError> error;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto& answer = answers[i];
    PGresult* const result = PQgetResult(connection_);
    if (result == nullptr) lost();
    last.emplace(result);
    const auto status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR && !error) {
      const auto state = sqlstate(result);
      auto of = i < queued ? PostgresError::Of::queued_statement : PostgresError::Of::statement;
      if (answer.to == Answer::To::kept_plan && says_plan_is_invalid(state)) {
        of = PostgresError::Of::kept_plan;
        plan_invalid_ = true;
        prepared_.erase(answer.statement);
      }
      error.emplace(one_line(PQresultErrorMessage(result)), state, of);
      if (i < queued) queued_failed_ = true;  // and stays so, whatever follows in this transaction
    }
    if (status != PGRES_COMMAND_OK && answer.to == Answer::To::prepare) prepared_.erase(answer.statement);
    if (!connected()) lost();
    PQclear(PQgetResult(connection_));  // the null behind each
  }
  PQclear(PQgetResult(connection_));  // of the sync
  if (!connected() || PQexitPipelineMode(connection_) != 1) lost();
  if (error) throw *error;
  return *last;
}

/// What a script does to a kept transaction is seen when it is done.
void PostgresConnection::script(const std::string& statements) {
  flush();
  if (!connected() || PQsendQuery(connection_, statements.c_str()) != 1) lost();
  std::optional<PostgresRows> last;
  while (PGresult* const result = PQgetResult(connection_)) {
    last.emplace(result);
    const auto command = last->command();
    if (command == "COMMIT") committed_in_part_ = keeps_transaction_;
    if (command == "COMMIT" || command == "BEGIN" || command == "START TRANSACTION")
      end_tried_ = keeps_transaction_;
    const auto status = PQresultStatus(result);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) break;
  }
  if (!connected() || !last) lost();
  last->require();
}

void PostgresConnection::rollback() noexcept {
  queued_.clear();
  queued_failed_ = false;
  end_tried_ = keeps_transaction_;
  if (std::exchange(plan_invalid_, false)) return disconnect();  // the server forgets them all, too
  if (!in_transaction()) return;
  PQclear(PQexec(connection_, "ROLLBACK"));
  if (!connected() || PQtransactionStatus(connection_) != PQTRANS_IDLE) {
    PQfinish(connection_);
    connection_ = nullptr;
  }
}

void PostgresConnection::lost() {
  const auto why = one_line(connection_ != nullptr ? PQerrorMessage(connection_) : "");
  PQfinish(connection_);
  connection_ = nullptr;
  prepared_.clear();
  throw PostgresError("the connection to " + name() + " was lost: " + why, "");
}

}  // namespace tidings
