#pragma once

#include "user.hpp"

#include <tidings/domain_event.hpp>

namespace tidings {

struct UserCreatedEvent : DomainEvent {
  explicit UserCreatedEvent(const User& user) {
    aggregate_id = user.id;
    aggregate_type = "User";
    event_type = "user.created";
    occurred_at = user.created_at;
    data = {{"userId", user.id},
            {"email", user.email},
            {"name", user.name},
            {"emailVerified", user.email_verified},
            {"createdAt", to_iso8601(user.created_at)}};
    metadata = {{"source", "auth-service"}, {"action", "user.register"}};
  }
};

}  // namespace tidings
