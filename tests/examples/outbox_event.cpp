#include <tidings/outbox_event.hpp>

bool is_settled(const tidings::OutboxEvent& event) {
  return event.status == tidings::RowStatus::published || event.status == tidings::RowStatus::dead_letter;
}
