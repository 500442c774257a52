#include "services/suspect_subjects.hpp"

#include "nats/partition.hpp"

#include <cstddef>

namespace tidings {
namespace {

// If the broker goes away again just then, so many events of a subject lose an attempt at most.
constexpr std::size_t most_on_trial = 64;

}  // namespace

SuspectSubjects::Subject SuspectSubjects::subject_of(const OutboxEvent& event) const {
  return {event.event_type, Partition::of_aggregate(event.aggregate_id, partitions_).number};
}

void SuspectSubjects::add(Entry& entry, std::uint64_t sends) {
  subjects_[subject_of(entry.event)].failed_at = sends;
  hold(entry);
}

void SuspectSubjects::hold(Entry& entry) {
  subjects_[subject_of(entry.event)].held.emplace(entry.number, &entry);
}

SuspectSubjects::Entry* SuspectSubjects::take_probe() {
  Suspect* oldest = nullptr;
  for (auto& [subject, suspect] : subjects_)
    if (!suspect.held.empty() && (oldest == nullptr || suspect.failed_at < oldest->failed_at))
      oldest = &suspect;
  if (oldest == nullptr) return nullptr;
  auto* const entry = oldest->held.begin()->second;
  oldest->held.erase(oldest->held.begin());
  return entry;
}

std::vector<SuspectSubjects::Entry*> SuspectSubjects::release(const OutboxEvent& event,
                                                              std::uint64_t sent_at) {
  const auto subject = subject_of(event);
  std::vector<Entry*> released;
  for (auto& [its_subject, suspect] : subjects_) {
    const auto room = most_on_trial - suspect.on_trial.size();
    if (its_subject == subject || suspect.failed_at >= sent_at) continue;
    for (std::size_t count = 0; count < room && !suspect.held.empty(); ++count) {
      auto* const entry = suspect.held.begin()->second;
      suspect.held.erase(suspect.held.begin());
      entry->on_trial = true;
      suspect.on_trial.insert(entry);
      released.push_back(entry);
    }
  }
  if (const auto cleared = subjects_.extract(subject)) {
    for (const auto& [number, entry] : cleared.mapped().held) released.push_back(entry);
    for (auto* const entry : cleared.mapped().on_trial) entry->on_trial = false;
  }
  return released;
}

void SuspectSubjects::end_trial(Entry& entry) {
  const auto suspect = subjects_.find(subject_of(entry.event));
  entry.on_trial = false;
  suspect->second.on_trial.erase(&entry);
  if (suspect->second.held.empty() && suspect->second.on_trial.empty()) subjects_.erase(suspect);
}

}  // namespace tidings
