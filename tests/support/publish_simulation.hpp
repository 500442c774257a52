#pragma once

// The table, the stream and the processor around a PublishScheduler, to see what it sends whatever fails.

#include "services/publish_scheduler.hpp"
#include "support/catch.hpp"
#include "support/scheduled_event.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace tidings::test {

using namespace std::chrono_literals;

/// Failures are drawn from a seed.
class Simulation {
 public:
  struct Failures {
    double refused = 0, transient = 0, lost_ack = 0, late = 0, takeover = 0;
    bool batches = false;
    bool poison = false;   ///< every 17th event is refused for ever
    bool narrow = false;   ///< of every 11th event the type may not be published, until a moment
    double no_stream = 0;  ///< not stored by itself, which may be due to its type
  };

  /// With 0 aggregates each event is of its own.
  Simulation(unsigned seed, std::size_t window, int events, int aggregates, Failures failures)
      : random_(seed), window_(window), scheduler_(window), failures_(failures) {
    scheduler_.allow_batches(failures.batches);
    for (int i = 1; i <= events; ++i)
      table_.emplace(i,
                     Row{row(i, "a" + std::to_string(aggregates > 0 ? draw(aggregates) : i)), "PENDING", {}});
  }

  /// Until every row is PUBLISHED or DEAD_LETTER. False when it makes no progress any more.
  bool run() {
    for (int round = 0; round < 200000; ++round) {
      if (settled_ == table_.size()) return true;
      read();
      send();
      answer_some();
      if (chance(0.3)) unsaved_.clear();
      if (chance(failures_.takeover)) take_over();
      clock_ += 1ms;
    }
    return false;
  }

  /// Ids of one aggregate in stream order, each at its first place.
  void check_order() const {
    std::map<std::string, std::int64_t> last;
    std::set<std::string> seen;
    for (const auto& stored : stream_) {
      if (!seen.insert(stored.id).second) continue;
      auto& previous = last[stored.aggregate_id];
      INFO("aggregate " << stored.aggregate_id << ": " << stored.position.row << " after " << previous);
      REQUIRE(stored.position.row > previous);
      previous = stored.position.row;
    }
    for (const auto& [position, row] : table_) {
      INFO("row " << position << " " << row.status);
      REQUIRE(seen.contains(row.event.id) == (row.status == "PUBLISHED"));
    }
  }

  [[nodiscard]] std::size_t dead() const {
    return static_cast<std::size_t>(std::count_if(
        table_.begin(), table_.end(), [](const auto& row) { return row.second.status == "DEAD_LETTER"; }));
  }
  [[nodiscard]] int batches() const { return batches_; }
  [[nodiscard]] int batches_beside_suspects() const { return batches_beside_suspects_; }
  [[nodiscard]] int trials() const { return trials_; }
  [[nodiscard]] std::size_t most_in_memory() const { return most_in_memory_; }
  [[nodiscard]] bool in_commit_order() const {
    return std::is_sorted(stream_.begin(), stream_.end(), [](const auto& left, const auto& right) {
      return left.position.row < right.position.row;
    });
  }

 private:
  struct Row {
    OutboxEvent event;
    std::string status;
    Timestamp retry_at;
  };
  /// One event, or a batch of them.
  struct Publish {
    std::vector<std::uint64_t> tokens;
    std::vector<OutboxEvent> events;
    bool given_up = false;  ///< not waited for any more; it arrives all the same
  };

  OutboxEvent row(int position, const std::string& aggregate) const {
    auto made = event(position, aggregate);
    made.event_type = failures_.narrow && position % 11 == 0 ? "narrow" : position % 2 == 0 ? "even" : "odd";
    return made;
  }
  int draw(int below) { return std::uniform_int_distribution<>{0, below - 1}(random_); }
  bool chance(double probability) { return std::bernoulli_distribution{probability}(random_); }

  void read() {
    while (scheduler_.room() > 0) {
      const auto request = scheduler_.next_refill(clock_);
      if (!request) break;
      std::vector<OutboxEvent> rows;
      const std::size_t limit = request->retry ? 1 : std::min<std::size_t>(3, scheduler_.room());
      const auto after = request->after.row;
      const auto last = std::max(cursor_, after);
      for (auto row = request->retry ? table_.lower_bound(after) : table_.upper_bound(after);
           row != table_.end() && row->first <= last; ++row)
        if (row->second.event.aggregate_id == request->aggregate_id && rows.size() < limit &&
            (row->second.status == "PENDING" || row->second.status == "FAILED"))
          rows.push_back(row->second.event);
      const bool complete = rows.size() < limit;
      scheduler_.refill(*request, std::move(rows), complete);
    }
    for (auto row = table_.upper_bound(cursor_); row != table_.end() && scheduler_.room() > 0; ++row) {
      cursor_ = row->first;
      if (row->second.status == "PENDING") scheduler_.offer(row->second.event);
    }
  }

  void send() {
    std::vector<PublishRequest> requests;
    for (;;) {
      if (const auto next = scheduler_.next_send(chance(0.5)))
        requests.assign(1, *next);
      else if (scheduler_.next_batch(requests))
        check_batch(requests);
      else
        break;
      Publish publish;
      for (const auto& [token, event] : requests) {
        publish.tokens.push_back(token);
        publish.events.push_back(*event);
      }
      wire_.push_back(std::move(publish));
    }
    most_in_memory_ = std::max(most_in_memory_, scheduler_.in_flight());
  }

  void check_batch(const std::vector<PublishRequest>& requests) {
    ++batches_;
    const bool only_narrow_is_suspect = scheduler_.has_suspects() && failures_.no_stream == 0;
    if (only_narrow_is_suspect) ++batches_beside_suspects_;
    for (const auto& [token, event] : requests) {
      REQUIRE_FALSE((only_narrow_is_suspect && event->event_type == "narrow"));
      REQUIRE_FALSE(scheduler_.sent(token)->on_trial);
    }
  }

  void answer_some() {
    for (int count = draw(8) + 1; count > 0 && !wire_.empty(); --count) {
      auto publish = std::move(wire_.front());
      wire_.pop_front();
      answer(std::move(publish));
    }
  }

  /// The processor dies: what is on the wire may still arrive, marks that were not saved are lost.
  void take_over() {
    for (int arriving = draw(static_cast<int>(wire_.size()) + 1); arriving > 0; --arriving) {
      const auto publish = std::move(wire_.front());
      wire_.pop_front();
      arrive(publish);
    }
    wire_.clear();
    for (const auto position : unsaved_) table_.at(position).status = "PENDING";
    settled_ -= unsaved_.size();
    unsaved_.clear();
    scheduler_ = PublishScheduler{window_};
    scheduler_.allow_batches(failures_.batches);
    cursor_ = 0;
    for (const auto& [position, row] : table_)
      if (row.status == "FAILED") scheduler_.block(row.event, clock_);
  }

  [[nodiscard]] bool is_poison(const OutboxEvent& sent) const {
    return failures_.poison && sent.position.row % 17 == 0;
  }
  [[nodiscard]] bool may_not_be_published(const OutboxEvent& sent) const {
    return sent.event_type == "narrow" && clock_ < Timestamp{} + 100ms;
  }
  [[nodiscard]] bool is_known(const OutboxEvent& sent) const { return ids_.contains(sent.id); }

  /// As the stream takes it: a batch all or not at all, and not when it has one of its events.
  bool arrive(const Publish& publish) {
    const auto& events = publish.events;
    if (std::ranges::any_of(
            events, [this](const auto& sent) { return is_poison(sent) || may_not_be_published(sent); }))
      return false;
    if (events.size() == 1 && is_known(events[0])) return true;
    if (std::ranges::any_of(events, [this](const auto& sent) { return is_known(sent); })) return false;
    for (const auto& sent : events) {
      stream_.push_back(sent);
      ids_.insert(sent.id);
    }
    return true;
  }

  void answer(Publish publish) {
    if (publish.given_up) return void(arrive(publish));
    if (chance(failures_.transient)) return return_all(publish);
    if (chance(failures_.late)) {
      publish.given_up = true;
      return_all(publish);
      return wire_.push_back(std::move(publish));
    }
    if (publish.tokens.size() == 1 &&
        (chance(failures_.no_stream) || may_not_be_published(publish.events[0])))
      return suspect(publish.tokens[0]);
    const bool refused = chance(failures_.refused) && !is_known(publish.events[0]);
    if (refused || !arrive(publish)) {
      if (publish.tokens.size() > 1) return return_all(publish);
      return refuse(publish.tokens[0]);
    }
    if (chance(failures_.lost_ack)) return return_all(publish);
    for (const auto token : publish.tokens) {
      const auto stored = scheduler_.stored(token);
      REQUIRE(stored);
      settle(*stored, "PUBLISHED");
      unsaved_.push_back(stored->position.row);
    }
  }

  void return_all(const Publish& publish) {
    for (const auto token : publish.tokens) scheduler_.returned(token);
  }

  void suspect(std::uint64_t token) {
    if (!scheduler_.sent(token)->on_trial) return scheduler_.suspected(token);
    ++trials_;
    refuse(token);
  }

  void refuse(std::uint64_t token) {
    const auto refused =
        scheduler_.refused(token, clock_, [this](const OutboxEvent& row) -> std::optional<Timestamp> {
          if (row.retry_count >= 5) return std::nullopt;
          return clock_ + std::chrono::milliseconds{draw(20)};
        });
    if (!refused) return;
    auto& row = table_.at(refused->position.row);
    row.event.retry_count = refused->retry_count;
    if (refused->retry_count >= 5) return settle(*refused, "DEAD_LETTER");
    row.status = "FAILED";
  }

  void settle(const OutboxEvent& settled, const std::string& status) {
    auto& row = table_.at(settled.position.row);
    REQUIRE((row.status == "PENDING" || row.status == "FAILED"));
    row.status = status;
    ++settled_;
  }

  std::mt19937 random_;
  std::size_t window_;
  PublishScheduler scheduler_;
  Failures failures_;
  std::map<std::int64_t, Row> table_;
  std::int64_t cursor_ = 0;
  Timestamp clock_{};
  std::deque<Publish> wire_;
  std::vector<std::int64_t> unsaved_;  // positions marked since the last commit
  std::vector<OutboxEvent> stream_;
  std::set<std::string> ids_;
  std::size_t settled_ = 0;
  int batches_ = 0, batches_beside_suspects_ = 0, trials_ = 0;
  std::size_t most_in_memory_ = 0;
};

}  // namespace tidings::test
