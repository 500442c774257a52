#include "consumer/attempt_log.hpp"

namespace tidings {

using Kind = Settlement::Kind;

std::optional<Settlement> AttemptLog::settled_before(const Delivery& delivery, const Handlers::Entry& entry,
                                                     const AttemptRecord& record) {
  if (inbox_.handled(delivery.event.id)) return Settlement{.kind = Kind::duplicate};
  if (!record.over(policy_.max_attempts(entry))) return std::nullopt;
  return Settlement{.kind = Kind::dead_letter, .reason = record.reason(), .attempts = record.failed()};
}

void AttemptLog::begin(const Delivery& delivery, const Inbox::Attempts& running) {
  inbox_.record_attempts(delivery.event.id, running);
}

void AttemptLog::undo(const Delivery& delivery, const Start& start) {
  const auto& id = delivery.event.id;
  if (inbox_.attempts(id) != start.running) return;
  if (start.before)
    inbox_.record_attempts(id, *start.before);
  else
    inbox_.forget_attempts(id);
}

void AttemptLog::fail(const Delivery& delivery, const Settlement& settlement) {
  inbox_.record_attempts(delivery.event.id, AttemptRecord::after(delivery, settlement));
}

void AttemptLog::forget(const Delivery& delivery) { inbox_.forget_attempts(delivery.event.id); }

}  // namespace tidings
