#pragma once

#include "user.hpp"

#include <tidings/database.hpp>

#include <string_view>

namespace tidings {

/// Not thread-safe: one for each connection and thread.
class UserRepository {
 public:
  explicit UserRepository(Database& database) : database_(database) {}

  /// The table of users, made if it is missing: a script for Database::migrate().
  [[nodiscard]] static std::string_view schema(Database::Kind kind) noexcept;

  /// False when the e-mail address is taken: addresses that differ only in the case of ASCII letters are the
  /// same. Throws DatabaseError.
  [[nodiscard]] bool insert(Transaction& transaction, const User& user);

 private:
  Database& database_;
};

}  // namespace tidings
