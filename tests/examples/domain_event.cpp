#include <tidings/domain_event.hpp>

struct UserRenamedEvent : tidings::DomainEvent {
  UserRenamedEvent(const std::string& user_id, const std::string& name) {
    aggregate_id = user_id;
    aggregate_type = "User";
    event_type = "user.renamed";
    data = {{"userId", user_id}, {"name", name}};
    metadata = {{"source", "auth-service"}};
  }
};

std::string column(const std::string& user_id) { return UserRenamedEvent{user_id, "Ann"}.event_data(); }
