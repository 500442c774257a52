#include "inbox/sqlite_pruner.hpp"

#include <utility>

namespace tidings {
namespace {

std::int64_t milliseconds(Timestamp time) { return time.time_since_epoch().count(); }

}  // namespace

bool SqlitePruner::prune(std::chrono::hours age, int limit) {
  if (!group_) begin_round();
  const bool is_gone = *group_ != own_group_;
  const auto before = milliseconds(time_ - age), gone_before = milliseconds(time_ - age - gone_after);
  if (!prune_step(*group_, is_gone ? gone_before : before, limit)) return false;
  if (is_gone) see(*group_);  // there is nothing more to look at for long
  group_ = next_gone(gone_before);
  return !group_;
}

void SqlitePruner::begin_round() {
  std::optional<Timestamp> seen;
  if (StatementRun run{seen_}; run.next() && !run.column(0).isNull())
    seen = Timestamp{std::chrono::milliseconds{run.column(0).getInt64()}};
  time_ = clock_.advance(now(), seen, RetentionClock::Steady::now());
  see(own_group_);
  group_ = own_group_;
}

/// True at the end of the group's rows.
bool SqlitePruner::prune_step(std::int64_t group, std::int64_t before, int limit) {
  std::optional<TextOrBlob> end;
  if (StatementRun run{end_}; run.bind(group, position_, limit - 1).next()) {
    const auto key = run.column(0);
    end = {.bytes = {static_cast<const char*>(key.getBlob()), static_cast<std::size_t>(key.getBytes())},
           .is_text = key.isText()};
  }
  if (end) {
    StatementRun{range_}.bind(group, position_, *end, before).exec();
    position_ = *std::move(end);
    return false;
  }
  StatementRun{rest_}.bind(group, position_, before).exec();
  position_ = {};
  StatementRun{attempts_}.bind(group, before).exec();
  return true;
}

void SqlitePruner::see(std::int64_t group) { StatementRun{see_}.bind(milliseconds(time_), group).exec(); }

std::optional<std::int64_t> SqlitePruner::next_gone(std::int64_t seen_before) {
  StatementRun run{gone_};
  if (!run.bind(own_group_, seen_before).next()) return std::nullopt;
  return run.column(0).getInt64();
}

}  // namespace tidings
