#include "services/suspect_types.hpp"

#include <cstddef>

namespace tidings {
namespace {

// If the broker goes away again just then, so many events of a type lose an attempt at most.
constexpr std::size_t most_on_trial = 64;

}  // namespace

void SuspectTypes::add(Entry& entry, std::uint64_t sends) {
  types_[entry.event.event_type].failed_at = sends;
  hold(entry);
}

void SuspectTypes::hold(Entry& entry) { types_[entry.event.event_type].held.emplace(entry.number, &entry); }

SuspectTypes::Entry* SuspectTypes::take_probe() {
  Suspect* oldest = nullptr;
  for (auto& [type, suspect] : types_)
    if (!suspect.held.empty() && (oldest == nullptr || suspect.failed_at < oldest->failed_at))
      oldest = &suspect;
  if (oldest == nullptr) return nullptr;
  auto* const entry = oldest->held.begin()->second;
  oldest->held.erase(oldest->held.begin());
  return entry;
}

std::vector<SuspectTypes::Entry*> SuspectTypes::release(const std::string& type, std::uint64_t sent_at) {
  std::vector<Entry*> released;
  for (auto& [name, suspect] : types_) {
    const auto room = most_on_trial - suspect.on_trial.size();
    if (name == type || suspect.failed_at >= sent_at) continue;
    for (std::size_t count = 0; count < room && !suspect.held.empty(); ++count) {
      auto* const entry = suspect.held.begin()->second;
      suspect.held.erase(suspect.held.begin());
      entry->on_trial = true;
      suspect.on_trial.insert(entry);
      released.push_back(entry);
    }
  }
  if (const auto cleared = types_.extract(type)) {
    for (const auto& [number, entry] : cleared.mapped().held) released.push_back(entry);
    for (auto* const entry : cleared.mapped().on_trial) entry->on_trial = false;
  }
  return released;
}

void SuspectTypes::end_trial(Entry& entry) {
  const auto suspect = types_.find(entry.event.event_type);
  entry.on_trial = false;
  suspect->second.on_trial.erase(&entry);
  if (suspect->second.held.empty() && suspect->second.on_trial.empty()) types_.erase(suspect);
}

}  // namespace tidings
