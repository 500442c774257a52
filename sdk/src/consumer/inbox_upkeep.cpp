#include "consumer/inbox_upkeep.hpp"

#include "consumer/inbox_guard.hpp"

namespace tidings {
namespace {

constexpr int prune_step = 1000;
constexpr std::chrono::seconds prune_interval{60};

}  // namespace

InboxUpkeep::Clock::duration InboxUpkeep::prune_if_due() {
  // A stop should not have to wait for one more lock.
  if (stop_.stop_requested() || Clock::now() < prune_again_) return {};
  const auto begun = Clock::now();
  (void)outage_.until_done("inbox", [this] {
    bool round_done = false;
    transact(inbox_, [&] { round_done = inbox_.prune(options_.inbox_retention, prune_step); });
    prune_again_ = Clock::now() + (round_done ? prune_interval : std::chrono::seconds{0});
  });
  return Clock::now() - begun;
}

InboxUpkeep::Clock::duration InboxUpkeep::keep_position_if_due(const std::string& stream_created,
                                                               std::uint64_t settled_to) {
  if (stop_.stop_requested() || !inbox_.keeps_positions()) return {};
  const Inbox::Position position{stream_created, settled_to};
  // 0: nothing is settled yet, and where the group begins is not for the inbox to say.
  if (settled_to == 0 || position == kept_position_) return {};
  const auto begun = Clock::now();
  (void)outage_.until_done("inbox", [&] {
    transact(inbox_, [&] { inbox_.keep_position(options_.stream, position); });
    kept_position_ = position;
  });
  return Clock::now() - begun;
}

}  // namespace tidings
