#pragma once

// A consumer on an inbox in PostgreSQL, and looks into its database.

#include "support/consuming.hpp"
#include "support/postgres_server.hpp"

#include <tidings/postgres_inbox.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace tidings::test {

/// One instance, as on a host of its own.
class PostgresInstance {
 public:
  using Handler = std::function<void(const Delivery&, PostgresTransaction&)>;
  /// One that knows the inbox's connection, too.
  using ConnectionHandler = std::function<void(const Delivery&, PostgresTransaction&, PostgresConnection&)>;

  PostgresInstance(const std::string& database, ConsumerOptions options, ConnectionHandler handler)
      : PostgresInstance(
            database, std::move(options),
            Handler{[this, handler = std::move(handler)](const Delivery& delivery, PostgresTransaction& tx) {
              handler(delivery, tx, inbox_.database());
            }}) {}
  PostgresInstance(const std::string& database, ConsumerOptions options, Handler handler = Handler{})
      : inbox_(database), consumer_(inbox_, std::move(options)) {
    inbox_.database().exec("CREATE TABLE IF NOT EXISTS effect(id text)");
    consumer_.on<nlohmann::json>(
        "user.created", [handler = std::move(handler)](const nlohmann::json&, PostgresTransaction& tx,
                                                       const Delivery& delivery) {
          tx.exec("INSERT INTO effect VALUES ($1)", delivery.event.id);
          if (handler) handler(delivery, tx);
        });
    thread_ = std::jthread([this](const std::stop_token& stop) {
      consumer_.run(stop);
      ended_ = true;
    });
  }

  void ask_to_stop() { thread_.request_stop(); }
  [[nodiscard]] bool ended() const { return ended_; }

  [[nodiscard]] ConsumerStats stats() const { return consumer_.stats(); }
  [[nodiscard]] ConsumerStatus status() const { return consumer_.status(); }

 private:
  PostgresInbox inbox_;
  Consumer<PostgresInbox> consumer_;
  std::atomic<bool> ended_{false};
  std::jthread thread_;
};

inline PostgresRows query(const PostgresServer& server, const std::string& statement) {
  PostgresConnection database{server.url()};
  database.connect();
  return database.exec(statement);
}

inline std::int64_t number(const PostgresServer& server, const std::string& statement) {
  return query(server, statement).integer(0, 0);
}

}  // namespace tidings::test
