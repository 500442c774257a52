#include "database/postgres_url.hpp"
#include "database/transaction_end.hpp"
#include "redacted_url.hpp"

#include <tidings/postgres_connection.hpp>

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

namespace tidings {
namespace {

// SQLSTATEs for which waiting does not help.
constexpr const char* not_supported = "0A000";
constexpr const char* in_failed_transaction = "25P02";
constexpr const char* invalid_transaction_end = "2D000";
constexpr const char* set_for_login =
    "; a pooler shares sessions: set it for the login (ALTER ROLE … SET search_path = …) and not in the URL";

// Bytes come in one form, whatever the login has set. A client whose host lost power keeps its locks for half
// a minute. PgBouncer does not keep these apart by client, and has keepalives of its own.
constexpr const char* settings_of_session =
    "SET bytea_output = hex; "
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

}  // namespace

PostgresConnection::PostgresConnection(const std::string& url) {
  auto parsed = PostgresUrl::parse(url);
  url_ = std::move(parsed.for_libpq);
  schema_ = std::move(parsed.schema);
}

PostgresConnection::~PostgresConnection() { PQfinish(connection_); }

bool PostgresConnection::connect() {
  if (connected() && !has_ended()) return false;
  disconnect();
  end_tried_ = keeps_transaction_;
  // A host that is gone is noticed within seconds. The URL comes last and may say otherwise.
  const std::array<const char*, 9> names{"connect_timeout",  "keepalives_idle",  "keepalives_interval",
                                         "tcp_user_timeout", "application_name", "target_session_attrs",
                                         "client_encoding",  "dbname",           nullptr};
  const std::array<const char*, 9> values{"5",          "10",   "5",          "15000", "tidings",
                                          "read-write", "UTF8", url_.c_str(), nullptr};
  auto* const connection = PQconnectdbParams(names.data(), values.data(), 1);
  {
    const std::lock_guard lock{connection_mutex_};
    connection_ = connection;
  }
  if (PQstatus(connection_) != CONNECTION_OK) {
    std::string why = PQerrorMessage(connection_);
    why.erase(why.find_last_not_of('\n') + 1);
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
  const std::lock_guard lock{connection_mutex_};
  PQfinish(connection_);
  connection_ = nullptr;
  prepared_.clear();
  queued_.clear();
}

void PostgresConnection::cut() noexcept {
  const std::lock_guard lock{connection_mutex_};
  if (connection_ != nullptr) ::shutdown(PQsocket(connection_), SHUT_RDWR);
}

/// The server announces the end of a session; without this, only the next statement would read it.
bool PostgresConnection::has_ended() {
  pollfd descriptor{PQsocket(connection_), POLLIN, 0};
  while (::poll(&descriptor, 1, 0) != 0)  // its words first, then the end
    if (PQconsumeInput(connection_) != 1 || !connected()) return true;
  return false;
}

/// Returns whether the server is a pooler: it makes up the process id that it tells its clients. The date
/// style holds there, too: a pooler sets it in each session that it gives.
bool PostgresConnection::begin_session() {
  const PostgresRows rows{PQexec(connection_, "SET datestyle = ISO; SELECT pg_backend_pid()")};
  if (!connected()) lost();
  rows.require();
  return rows.integer(0, 0) != PQbackendPID(connection_);
}

/// A pooler may give a session for a statement only, or drop in silence what the URL sets for the session.
void PostgresConnection::require_transactions() {
  try {
    PostgresRows{PQexec(connection_, "BEGIN")}.require();
  } catch (const PostgresError& error) {
    // PgBouncer in statement mode just ends the connection, like an error that passes.
    throw PostgresError("cannot begin a transaction on " + name() + ": " + error.what() +
                            "; a pooler must be in transaction mode or session mode",
                        error.sqlstate());
  }
  if (!schema_.empty()) {
    const auto same = exec(
        "SELECT current_setting('search_path') IN (quote_ident($1), '\"' || replace($1, '\"', '\"\"') || '\"')",
        schema_);
    if (same.text(0, 0) != "t")
      throw PostgresError(
          "cannot use " + name() + ": the pooler does not pass on the schema " + schema_ + set_for_login,
          not_supported);
  }
  script("ROLLBACK");
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

std::string PostgresConnection::name() const { return redacted_url(url_); }

void PostgresConnection::keep_transaction(bool keep) noexcept {
  keeps_transaction_ = keep;
  end_tried_ = false;
  committed_in_part_ = false;
}

void PostgresConnection::refuse_end(const std::string& statement) {
  if (!keeps_transaction_ || !ends_transaction(statement)) return;
  end_tried_ = true;
  require_kept_transaction();
}

void PostgresConnection::require_sound() const {
  if (connected() && PQtransactionStatus(connection_) == PQTRANS_INERROR)
    throw PostgresError("a statement failed, and the handler went on as if it had not",
                        in_failed_transaction);
  require_kept_transaction();
}

const char* PostgresConnection::complaint() const noexcept {
  // What is queued begins with the BEGIN. The next statement tells of a lost connection.
  const bool none = connected() && !in_transaction() && queued_.empty();
  if (!end_tried_ && !none) return "";
  return "a handler must not end the inbox's transaction (COMMIT, ROLLBACK): what it writes is committed "
         "together with the note that the event was handled";
}

void PostgresConnection::require_kept_transaction() const {
  if (const std::string told = complaint(); !told.empty()) throw PostgresError(told, invalid_transaction_end);
}

/// It may have been another event's, before this savepoint was made: the server's savepoint is that event's,
/// and the handler's own savepoint that it went back to was perhaps made there, too.
void PostgresConnection::require_nothing_queued_failed() const {
  if (queued_failed_) throw PostgresError("a queued statement failed", in_failed_transaction);
}

/// What a script does to a kept transaction is only seen afterwards.
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
  if (!connected() || in_transaction()) disconnect();
}

void PostgresConnection::lost() {
  const std::string why = connection_ != nullptr ? PQerrorMessage(connection_) : "";
  disconnect();
  throw PostgresError("the connection to " + name() + " was lost: " + why, "");
}

}  // namespace tidings
