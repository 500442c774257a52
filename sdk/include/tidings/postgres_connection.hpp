#pragma once

// One connection to PostgreSQL, for statements with parameters.

#include <tidings/postgres_error.hpp>
#include <tidings/postgres_rows.hpp>

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

extern "C" {
typedef struct pg_conn PGconn;
}

namespace tidings {

/// Not thread-safe.
///
///     tidings::PostgresConnection database{"postgresql://mailer@db.example.org/welcome"};
///     database.connect();
///     const auto users = database.exec("SELECT count(*) FROM account WHERE name = $1", name).integer(0, 0);
class PostgresConnection {
 public:
  using Parameter = std::optional<std::string>;  ///< as text; empty: NULL

  /// `postgresql://user:password@host:5432/database`, also with several hosts: the first that takes writes.
  /// Prisma's own parameters are understood (`schema`) or left out. Does not connect yet. Throws SettingError
  /// for a URL that cannot be read.
  explicit PostgresConnection(const std::string& url);
  ~PostgresConnection();
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  /// Runs one statement with $1, $2… Numbers, bool, texts, std::optional of them and std::nullopt. Throws
  /// PostgresError; inside of a transaction nothing but a rollback is possible after that.
  template <class... Values>
  PostgresRows exec(const std::string& statement, const Values&... values) {
    return run(statement, {parameter(values)...});
  }
  PostgresRows run(const std::string& statement, std::vector<Parameter> parameters) {
    return run(Command{statement, std::move(parameters), true});
  }

  /// As exec(), but planned for the sizes that the tables have now. exec() keeps the plans of a session's
  /// first 200 statements: a plan made when a table was empty reads all of it when it has grown.
  template <class... Values>
  PostgresRows plan_and_exec(const std::string& statement, const Values&... values) {
    return run(Command{statement, {parameter(values)...}, false});
  }

  /// Sent together with the next statement that is run, before it: costs no round trip of its own. Its rows
  /// are dropped. When it fails, the statement that it was sent with does not run, and throws its error.
  template <class... Values>
  void queue(const std::string& statement, const Values&... values) {
    enqueue({statement, {parameter(values)...}, true});
  }
  /// Runs what is queued.
  void flush();

  /// Several statements without parameters.
  void script(const std::string& statements);

  /// Connects when there is no connection, or the server has ended it. Not within a transaction. Throws
  /// PostgresError, also for a pooler that takes no transactions or drops the URL's schema. Nothing else
  /// connects. True when it is a new one.
  bool connect();
  [[nodiscard]] bool connected() const noexcept;
  /// Forgets what is queued.
  void disconnect() noexcept;
  /// Ends the connection, whatever another thread waits for on it: that fails as for a lost connection.
  /// Thread-safe.
  void cut() noexcept;
  /// Through a pooler (PgBouncer): a session is kept for the time of a transaction only, so there are no
  /// prepared statements, and neither settings nor LISTEN outlast a statement. What returns bytea comes in
  /// the form that the login has set: use encode().
  [[nodiscard]] bool pooled() const noexcept { return pooled_; }
  /// To poll for notifications after LISTEN; -1 without a connection.
  [[nodiscard]] int socket() const noexcept;
  /// How many came since the last call. Does not wait. Throws PostgresError when the connection is lost.
  int take_notifications();
  /// Forgets what is queued, and the connection when it is broken or its transaction cannot be rolled back.
  void rollback() noexcept;
  [[nodiscard]] bool in_transaction() const noexcept;

  /// The URL without user, password and parameters.
  [[nodiscard]] std::string name() const;

 private:
  struct Command {
    std::string statement;
    std::vector<Parameter> parameters;
    bool prepare;  // keeps its plan, where the connection is one session
  };
  struct Prepared {
    std::string name;
    int transaction;  // in which it was prepared
  };
  /// A result still expected from the pipeline.
  struct Answer {
    enum class To { statement, prepare, kept_plan } to;
    std::string statement{};  // empty for To::statement
  };

  template <class Value>
  static Parameter parameter(const Value& value) {
    if constexpr (std::is_same_v<Value, std::nullopt_t>) {
      return std::nullopt;
    } else if constexpr (std::is_same_v<Value, bool>) {
      return value ? "t" : "f";
    } else if constexpr (std::is_arithmetic_v<Value>) {
      return std::to_string(value);
    } else if constexpr (std::is_convertible_v<const Value&, std::string_view>) {
      return std::string{std::string_view{value}};
    } else {
      return value ? parameter(*value) : std::nullopt;
    }
  }

  friend class PostgresInbox;  // keeps handlers from ending its transaction
  /// Whether statements that end the transaction are refused. Forgets what was tried.
  void keep_transaction(bool keep) noexcept;
  /// What a handler must not do, when it has ended the transaction or tried to; empty otherwise.
  [[nodiscard]] const char* complaint() const noexcept;
  /// Throws that.
  void require_kept_transaction() const;
  /// Throws as well when a statement has failed, which the handler has hidden.
  void require_sound() const;
  /// Throws when a queued statement was refused since the last rollback().
  void require_nothing_queued_failed() const;
  void refuse_end(const std::string& statement);

  [[nodiscard]] bool has_ended();
  [[nodiscard]] bool begin_session();
  void require_transactions();
  void enqueue(Command command);
  PostgresRows run(const Command& last);
  void send(const Command& command, std::vector<Answer>& answers);
  PostgresRows receive(const std::vector<Answer>& answers, std::size_t queued);
  [[noreturn]] void lost();

  std::string url_;     // for libpq
  std::string schema_;  // of the URL, as it is called
  PGconn* connection_ = nullptr;
  std::mutex connection_mutex_;  // held where connection_ changes, and by cut()
  bool pooled_ = false;
  std::vector<Command> queued_;
  bool queued_failed_ = false;
  bool keeps_transaction_ = false;
  bool end_tried_ = false;                              // to end a kept transaction, also when it was refused
  bool committed_in_part_ = false;                      // by a script, which is seen when it is done
  std::unordered_map<std::string, Prepared> prepared_;  // by statement
  int next_name_ = 0;
  int transactions_ = 0;
  bool plan_invalid_ = false;
};

}  // namespace tidings
