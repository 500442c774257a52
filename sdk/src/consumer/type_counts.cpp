#include "consumer/type_counts.hpp"

namespace tidings {

TypeCounts::Counts& TypeCounts::of(const std::string& type) {
  if (const auto found = by_type_.find(type); found != by_type_.end()) return found->second;
  const std::lock_guard lock{mutex_};
  return by_type_[by_type_.size() < most_types && !type.empty() ? type : rest];
}

std::map<std::string, TypeStats> TypeCounts::read() const {
  const std::lock_guard lock{mutex_};
  std::map<std::string, TypeStats> stats;
  for (const auto& [type, counts] : by_type_)
    stats[type] = {.handled = counts.handled,
                   .retried = counts.retried,
                   .unavailable = counts.unavailable,
                   .dead_lettered = counts.dead_lettered,
                   .ignored = counts.ignored};
  return stats;
}

}  // namespace tidings
