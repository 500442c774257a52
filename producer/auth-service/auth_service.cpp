#include "auth_service.hpp"

#include <utility>

namespace tidings {

AuthService::AuthService(Database& database)
    : database_(database), users_(database), outbox_(database.outbox()) {}

void AuthService::migrate(Database& database) { database.migrate(UserRepository::schema(database.kind())); }

User AuthService::register_user(const Registration& registration) {
  auto user = new_user(registration);
  database_.transact([&](Transaction& transaction) { insert(transaction, user); });
  return user;
}

std::vector<AuthService::Outcome> AuthService::register_users(std::span<const Registration> registrations) {
  std::vector<Outcome> outcomes;
  outcomes.reserve(registrations.size());
  database_.transact([&](Transaction& transaction) {
    for (const auto& registration : registrations) {
      try {
        auto user = new_user(registration);
        insert(transaction, user);
        outcomes.push_back({.user = std::move(user), .error = {}});
      } catch (const InvalidRegistration& refusal) {
        outcomes.push_back({.user = {}, .error = refusal.what()});
      }
    }
  });
  return outcomes;
}

// Every refusal comes before the first row is written, so a refused registration leaves nothing to undo when
// it shares a transaction with others. What fails after that (the database) fails the whole transaction.
void AuthService::insert(Transaction& transaction, const User& user) {
  if (!users_.insert(transaction, user)) throw AlreadyRegistered();
  outbox_->add(transaction, UserCreatedEvent{user});
}

}  // namespace tidings
