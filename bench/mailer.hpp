#pragma once

// The consumer that is measured: a typed handler that writes a row of its own into
// the inbox's database.

#include <tidings/consumer.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace tidings::bench {

struct UserCreated {
  std::string userId, email, name;
  bool emailVerified = false;
  std::string createdAt;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserCreated, userId, email, name, emailVerified, createdAt)

inline constexpr const char* group = "bench";

[[nodiscard]] ConsumerOptions options_for(const std::string& url);

/// The next consumer starts at the beginning of the stream.
void forget_group(const std::string& url);

/// The handler's table.
class WelcomeEmails {
 public:
  explicit WelcomeEmails(SQLite::Database& database);

  void write(const UserCreated& user);

 private:
  std::optional<SQLite::Statement> insert_;
};

/// One instance, on an inbox file.
class Mailer {
 public:
  /// `before` runs in the handler, ahead of its write.
  Mailer(const std::filesystem::path& file, ConsumerOptions options,
         std::function<void(const Delivery&)> before = {});

  Consumer<SqliteInbox>& consumer() { return *consumer_; }
  SqliteInbox& inbox() { return inbox_; }

 private:
  SqliteInbox inbox_;
  std::function<void(const Delivery&)> before_;
  WelcomeEmails emails_;
  std::optional<Consumer<SqliteInbox>> consumer_;
};

}  // namespace tidings::bench
