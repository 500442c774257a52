#pragma once

// Registers users: the user and its UserCreatedEvent are one commit. Here the auth service ends: it adds the
// event to the outbox (producer/outbox), which knows nothing of users and carries it from there.

#include "registration_input.hpp"
#include "user.hpp"

#include <tidings/outbox_repository.hpp>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tidings {

/// Not thread-safe; one for each thread, on its own Database.
class AuthService {
 public:
  explicit AuthService(Database& database);

  /// Creates the tables of users and of the outbox that are missing, all or none. Idempotent, also when
  /// several processes do it at once. Throws DatabaseError.
  static void migrate(Database& database);

  /// Writes user and event in one transaction and returns the user as stored. Throws InvalidRegistration (see
  /// new_user()), AlreadyRegistered and DatabaseError.
  User register_user(const Registration& registration);

  /// One outcome for each registration: the user, or why it was refused.
  struct Outcome {
    User user;
    std::string error;  ///< empty when registered
  };

  /// Many registrations in one transaction; a refused one does not hold up the others.
  /// Throws DatabaseError, and then none is written.
  std::vector<Outcome> register_users(std::span<const Registration> registrations);

 private:
  void insert(Transaction& transaction, const User& user);

  Database& database_;
  UserRepository users_;
  std::unique_ptr<OutboxRepository> outbox_;
};

}  // namespace tidings
