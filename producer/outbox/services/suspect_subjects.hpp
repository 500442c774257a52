#pragma once

// Subjects whose events the stream did not store, which may be their own fault (a right that is missing, a
// stream without them, a limit by subject) or the broker's. It is theirs when an event of another subject,
// sent after that, is stored, and they are not stored again. A subject is suspect until one of its events is
// stored, or none is held and none on trial. Does no I/O and reads no clock.

#include "services/aggregate_queues.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

class SuspectSubjects {
 public:
  using Entry = AggregateQueues::Entry;

  /// An event's subject is its type, and with more than one of these the partition of its aggregate.
  explicit SuspectSubjects(int partitions) : partitions_(partitions) {}

  [[nodiscard]] bool empty() const noexcept { return subjects_.empty(); }
  [[nodiscard]] bool contains(const Entry& entry) const {
    return !subjects_.empty() && subjects_.contains(subject_of(entry.event));
  }

  /// The entry was not stored, after `sends` events were sent in all. Its subject is suspect, and it is held.
  void add(Entry& entry, std::uint64_t sends);
  /// An entry of a suspect subject that is not to be sent with the others.
  void hold(Entry& entry);
  /// The earliest held entry of the subject that failed longest ago; nullptr when none is held. Not held any
  /// more.
  [[nodiscard]] Entry* take_probe();
  /// The event, sent as number `sent_at`, is stored: the entries that may go out now, those of other subjects
  /// on trial.
  [[nodiscard]] std::vector<Entry*> release(const OutboxEvent& event, std::uint64_t sent_at);
  /// An entry on trial has its result.
  void end_trial(Entry& entry);

 private:
  struct Suspect {
    std::uint64_t failed_at = 0;
    std::map<std::uint64_t, Entry*> held;  // by number
    std::set<Entry*> on_trial;
  };
  using Subject = std::pair<std::string, int>;  // type and partition
  [[nodiscard]] Subject subject_of(const OutboxEvent& event) const;

  int partitions_;
  std::map<Subject, Suspect> subjects_;
};

}  // namespace tidings
