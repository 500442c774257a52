#pragma once

// What a session does for its inbox from time to time: forgets what is old, and writes down where the group
// stands on its stream, for a durable that is lost and has to be made again.

#include "consumer/consumer_context.hpp"
#include "consumer/outage_wait.hpp"
#include "inbox/inbox.hpp"

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

namespace tidings {

class InboxUpkeep {
 public:
  using Clock = std::chrono::steady_clock;

  InboxUpkeep(ConsumerContext& context, OutageWait& outage, std::stop_token stop)
      : inbox_(context.inbox), options_(context.options), outage_(outage), stop_(std::move(stop)) {}

  // Both return how long they have waited for the inbox.
  Clock::duration prune_if_due();
  Clock::duration keep_position_if_due(const std::string& stream_created, std::uint64_t settled_to);

 private:
  Inbox& inbox_;
  const ConsumerOptions& options_;
  OutageWait& outage_;
  std::stop_token stop_;
  Clock::time_point prune_again_{};
  Inbox::Position kept_position_;
};

}  // namespace tidings
