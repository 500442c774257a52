#include "infrastructure/postgres/postgres_database.hpp"

#include "infrastructure/schema/schema.hpp"

#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

namespace tidings {
namespace {

/// Waiting does not mend these. libpq gives no code for a refused login.
bool refuses_login(std::string_view why) {
  for (const auto* part :
       {"authentication failed", "no pg_hba.conf entry", "\" does not exist", "no password",
        "invalid connection option", "invalid URI", "invalid port", "permission denied for"})
    if (why.find(part) != std::string_view::npos) return true;
  return false;
}

constexpr std::string_view name_characters = "abcdefghijklmnopqrstuvwxyz0123456789_";

using Parameter = PostgresConnection::Parameter;

Parameter parameter(std::monostate) { return std::nullopt; }
Parameter parameter(std::int64_t value) { return std::to_string(value); }

Parameter parameter(const std::string& value) {
  // libpq would cut it there, in silence.
  if (value.find('\0') != std::string::npos)
    throw SqlError("PostgreSQL takes no text with a NUL in it; bind it as Bytes");
  return value;
}

/// With all its digits.
Parameter parameter(double value) {
  std::array<char, 32> digits{};
  return std::string{digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

/// As bytea's text: `\x00ff`.
Parameter parameter(const Bytes& value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\\x";
  for (const auto byte : value) {
    text += digits[std::to_integer<std::size_t>(byte >> 4)];
    text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

/// For a relay or an operator's command: the statement that helps, whichever right of the table is missing.
/// PostgreSQL names the table only, in the language of the server's messages.
std::string grant(std::string_view why, const std::string& login) {
  constexpr std::string_view before_table = "permission denied for table ";
  const auto at = why.find(before_table);
  if (at == std::string_view::npos) return "";
  const auto table = why.substr(at + before_table.size());
  return ": GRANT SELECT, INSERT, UPDATE, DELETE ON " +
         std::string{table.substr(0, table.find_first_not_of(name_characters))} + " TO " + login +
         " ('tidings doctor' says which of these it lacks)";
}

std::string_view remedy(const std::string& sqlstate) {
  if (sqlstate == "42P01" || sqlstate == "42703")
    return "; run the service's migration, or 'tidings outbox init'";
  if (sqlstate == "42501") return "; grant it to this login";
  if (sqlstate == "55P03") return "; another connection holds the lock, try again";
  return "";
}

}  // namespace

PostgresDatabase::PostgresDatabase(const std::string& url, Open mode) : connection_(url), mode_(mode) {
  try {
    connect();
  } catch (const PostgresError& error) {
    throw DatabaseError(error.what(), error.retryable() && !refuses_login(error.what()) ? Error::Retry::yes
                                                                                        : Error::Retry::no);
  }
}

void PostgresDatabase::connect() {
  const auto require_wanted = [this] {
    if (given_up_) throw PostgresError("the connection to " + name() + " was given up", "");
  };
  require_wanted();
  if (!connection_.connect()) return;
  require_wanted();
  ++session_;
  if (is_service()) return;
  login_ = connection_.exec("SELECT quote_ident(current_user)").text(0, 0);
  // A pooler would hand settings of the session on to others: begin() makes the necessary ones.
  if (connection_.pooled()) return;
  // The plans are the ones that an outbox needs, whatever the statistics say of a table that is empty at one
  // time and full at another.
  connection_.script("SET lock_timeout = " + std::to_string(lock_timeout_.count()) + R"sql(;
      SET plan_cache_mode = force_generic_plan;
      SET enable_seqscan = off;
      SET enable_bitmapscan = off;
      SET jit = off)sql");
  // A processor that is frozen in a transaction must not keep its successor out.
  if (mode_ == Open::processor) connection_.script("SET idle_in_transaction_session_timeout = '5s'");
}

void PostgresDatabase::wait_for_locks(std::chrono::milliseconds at_most) {
  lock_timeout_ = at_most;
  if (pooled() || !connection_.connected()) return;  // begin() or connect() will say it
  attempt("set up the session with " + name(), [&] {
    guard([&] { connection_.script("SET lock_timeout = " + std::to_string(at_most.count())); });
  });
}

void PostgresDatabase::give_up() noexcept {
  given_up_ = true;
  connection_.cut();
}

SqlError PostgresDatabase::sql_error(const PostgresError& error) const {
  auto why = std::string(error.what()) + std::string(remedy(error.sqlstate()));
  if (error.sqlstate() == "42501" && !is_service()) why += grant(error.what(), login_);
  return SqlError(why, error.retryable() ? Error::Retry::yes : Error::Retry::no);
}

void PostgresDatabase::create_tables(const std::string& own_tables) { script(schema::postgres + own_tables); }

void PostgresDatabase::add_notify_trigger() {
  attempt("make the trigger in " + name(), [&] { script(schema::postgres_notify_trigger); });
}

/// All or nothing, and one process at a time: two would create the same table.
void PostgresDatabase::script(const std::string& statements) {
  guard([&] {
    try {
      connection_.script("BEGIN; SELECT pg_advisory_xact_lock(hashtext('tidings outbox')); " + statements +
                         "; COMMIT");
    } catch (...) {
      connection_.rollback();  // the error ended the script inside its transaction
      throw;
    }
  });
}

Timestamp PostgresDatabase::time() {
  const auto rows = query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
  return Timestamp{std::chrono::milliseconds{rows.integer(0, 0)}};
}

SqlRows PostgresDatabase::run(const std::string& statement, const std::vector<SqlValue>& values) {
  std::vector<PostgresConnection::Parameter> parameters;
  parameters.reserve(values.size());
  for (const auto& value : values)
    parameters.push_back(std::visit([](const auto& one) { return parameter(one); }, value));
  return read(guard([&] { return connection_.run(statement, std::move(parameters)); }));
}

SqlRows PostgresDatabase::read(const PostgresRows& rows) {
  SqlRows taken;
  taken.columns = static_cast<std::size_t>(rows.columns());
  taken.cells.reserve(taken.columns * static_cast<std::size_t>(rows.size()));
  for (int row = 0; row < rows.size(); ++row)
    for (int column = 0; column < rows.columns(); ++column)
      taken.cells.push_back(rows.is_null(row, column) ? std::nullopt
                            : rows.is_binary(column)  ? std::optional{rows.bytes(row, column)}
                                                      : std::optional<std::string>{rows.text(row, column)});
  taken.affected = rows.affected();
  return taken;
}

void PostgresDatabase::begin(Transaction::Access access) {
  wake_ = false;
  connection_.rollback();
  guard([&] {
    connection_.queue(access == Transaction::Access::read ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
                                                          : "BEGIN");
  });
  if (connection_.pooled() && !is_service()) {
    connection_.queue("SET LOCAL lock_timeout = " + std::to_string(lock_timeout_.count()));
    if (mode_ == Open::processor) connection_.queue("SET LOCAL idle_in_transaction_session_timeout = '5s'");
  }
  in_transaction_ = true;
}

void PostgresDatabase::commit() {
  if (std::exchange(wake_, false)) connection_.queue(wake_lock::notify_if_held);
  const auto done = guard([&] { return connection_.exec("COMMIT"); });
  in_transaction_ = false;
  // A transaction that an earlier error has ended is rolled back by COMMIT without an error.
  if (done.command() != "COMMIT") throw SqlError("the transaction was rolled back by an error before");
}

void PostgresDatabase::roll_back() noexcept {
  in_transaction_ = false;
  wake_ = false;
  connection_.rollback();
}

}  // namespace tidings
