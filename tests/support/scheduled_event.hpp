#pragma once

// An event as PublishScheduler sees it.

#include <tidings/outbox_event.hpp>

#include <cstdint>
#include <string>

namespace tidings::test {

inline OutboxEvent event(std::int64_t position, const std::string& aggregate) {
  OutboxEvent made;
  made.position = position;
  made.id = "e" + std::to_string(position);
  made.aggregate_id = aggregate;
  made.aggregate_type = "User";
  return made;
}

}  // namespace tidings::test
