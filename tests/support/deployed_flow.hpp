#pragma once

// The programs as deploy/ runs them: each with a login of its own, on an outbox and an inbox of the test.

#include "support/deployed_nats.hpp"
#include "support/process.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

class DeployedFlow {
 public:
  explicit DeployedFlow(std::string nats_urls, const std::string& replicas = "1")
      : shared_{{"NATS_URL", std::move(nats_urls)},
                {"OUTBOX_STREAM_REPLICAS", replicas},
                {"OUTBOX_LEASE_MS", "1000"},
                {"CONSUMER_ACK_WAIT_MS", "1000"},
                {"CONSUMER_BACKOFF_BASE_MS", "50"},
                {"CONSUMER_MAX_ATTEMPTS", "2"},
                {"DATABASE_URL", "sqlite:" + auth_db()},
                {"CONSUMER_GROUP", "welcome-mailer"},
                {"CONSUMER_DATABASE_URL", inbox_db()}} {
    require(auth_service({"migrate"}));
  }

  [[nodiscard]] Finished auth_service(const std::vector<std::string>& arguments,
                                      const std::string& input = {}) const {
    return run(executable("auth-service"), arguments,
               {.environment = shared_, .input = input, .log_folder = {}});
  }
  void register_users(int count, const std::string& host = "example.org") const {
    std::string lines;
    for (int i = 0; i < count; ++i)
      lines += R"({"email":"user)" + std::to_string(i) + "@" + host + R"(","name":"Ada"})" + "\n";
    require(auth_service({"register", "--from", "-", "--batch", "50"}, lines));
  }
  /// Events that a consumer cannot read: they lack the user.
  void register_nonsense(int count) const {
    for (int i = 0; i < count; ++i)
      sqlite::execute(auth_db(),
                      R"(INSERT INTO outbox_event("id", "aggregateId", "aggregateType", "eventType",
          "eventData", "occurredAt", "updatedAt") VALUES ('nonsense-)" +
                          std::to_string(i) + R"(', 'nobody', 'User', 'user.created', '{"data":{}}',
          '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'))");
  }
  [[nodiscard]] Process start_relay(const std::vector<std::string>& arguments = {"relay"}) const {
    return Process{executable("tidings"), arguments, as(relay_login())};
  }
  [[nodiscard]] Process start_consumer(const std::vector<std::string>& arguments = {"--json"}) const {
    return Process{executable("consumer-example"), arguments, as(mailer_login())};
  }

  [[nodiscard]] std::string auth_db() const { return (folder_ / "auth.db").string(); }
  [[nodiscard]] std::string inbox_db() const { return (folder_ / "welcome.db").string(); }
  [[nodiscard]] std::int64_t published() const {
    return number_or_none(auth_db(), "SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'");
  }
  [[nodiscard]] std::int64_t emails() const {
    return number_or_none(inbox_db(), "SELECT count(*) FROM welcome_email");
  }
  /// Why the relay waits.
  [[nodiscard]] std::string trouble() const {
    try {
      return sqlite::text(auth_db(), "SELECT trouble FROM outbox_state");
    } catch (const std::exception&) {
      return {};  // no row yet
    }
  }

 private:
  static void require(const Finished& finished) {
    if (finished.exit != exited(0)) throw std::runtime_error("auth-service: " + finished.err);
  }
  static std::int64_t number_or_none(const std::string& database, const std::string& query) {
    try {
      return sqlite::number(database, query);
    } catch (const std::exception&) {
      return 0;  // no file or no table yet
    }
  }
  [[nodiscard]] ProcessOptions as(const Login& login) const {
    ProcessOptions options{.environment = shared_, .input = {}, .log_folder = {}};
    for (const auto& setting : login.settings()) options.environment.push_back(setting);
    return options;
  }

  TempDir folder_;
  Environment shared_;
};

}  // namespace tidings::test
