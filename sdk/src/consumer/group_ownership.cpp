#include "consumer/group_ownership.hpp"

#include <spdlog/spdlog.h>

namespace tidings {

GroupOwnership::GroupOwnership(ConsumerContext& context, const Connection& connection,
                               const BatchExecutor& executor)
    : context_(context),
      connection_(connection),
      executor_(executor),
      lease_(context.inbox.open_tenures(context.options.lease / 8), context.options.lease) {}

bool GroupOwnership::acquire(const std::stop_token& stop) {
  context_.status.set(ConsumerStatus::State::standby);
  context_.pulse.rest();
  if (!lease_.acquire(stop, [this] { return connection_.connected(); })) return false;
  spdlog::info("owner of group={}", context_.options.group);
  context_.inbox.fence(lease_.tenure());
  lease_.keep([this] { return !executor_.overdue() && !stuck_; });
  answered_at_ = Clock::now();
  return true;
}

bool GroupOwnership::may_stay(bool answered, bool stuck) {
  stuck_ = stuck;
  // The lease runs out, and commits are refused once another has it: the end of the session would wait for
  // the workers.
  if (stuck) return true;
  const auto now = Clock::now();
  if (answered) answered_at_ = now;
  return lease_.still_holds() && now - answered_at_ < 2 * context_.options.lease;
}

void GroupOwnership::release() noexcept {
  lease_.release();
  context_.inbox.fence({});
}

}  // namespace tidings
