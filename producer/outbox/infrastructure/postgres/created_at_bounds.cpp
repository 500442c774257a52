#include "infrastructure/postgres/created_at_bounds.hpp"

#include <utility>

namespace tidings {
namespace {

constexpr std::chrono::milliseconds shortest_gap{50};
constexpr int share = 64;

}  // namespace

/// The last bound is as new as can be. Between those before it are gaps, which grow with the time that a
/// transaction is open: there are some hundred bounds after an hour, and what a scan reads too much is a
/// small share of that hour's rows.
void CreatedAtBounds::add(TransactionId oldest_open, TransactionId next_id, std::string created_from,
                          Clock::time_point now) {
  if (bounds_.size() > 1) {
    const auto& before = bounds_[bounds_.size() - 2];
    const auto gap = shortest_gap + (before.at - bounds_.front().at) / share;
    if (bounds_.back().at - before.at < gap) bounds_.pop_back();
  }
  bounds_.push_back({next_id, std::move(created_from), now});
  oldest_open_ = oldest_open;
  while (bounds_.size() > 1 && bounds_[1].next_id <= oldest_open_) bounds_.pop_front();
}

std::optional<std::string> CreatedAtBounds::hidden_from() const {
  if (bounds_.empty() || bounds_.front().next_id > oldest_open_) return std::nullopt;
  return bounds_.front().created_from;
}

}  // namespace tidings
