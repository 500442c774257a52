// Simulation of a strict group's owners on one durable: they die and leave messages behind, deliveries are
// lost or come twice, and a late ack of a dead owner arrives. Whatever happens, the events of a key take
// effect in the order of the stream, and in the end all of them do.

#include "consumer/take_over_gate.hpp"

#include "consumer/hold_queue.hpp"
#include "support/catch.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tidings;
using namespace std::chrono_literals;

namespace {

/// What is taken away from the owner, to see that the simulation notices.
enum class Without { nothing, gate, sort, holds };

class Simulation {
 public:
  Simulation(unsigned seed, Without without) : random_(seed), without_(without) { take_over(); }

  /// Empty when all took effect in order.
  [[nodiscard]] std::string run() {
    for (int step = 0; step < 4000 && !all_done() && error_.empty(); ++step) {
      now_ += 10ms;
      if (published_ < events && chance(30)) ++published_;
      if (deaths_left_ > 0 && chance(2)) take_over();
      if (chance(2)) late_ack();
      deliver();
      if (chance(40)) gate_->tell(state());
      if (gate_->open() || without_ == Without::gate) handle();
    }
    if (!error_.empty()) return error_;
    return all_done() ? "" : "not all events took effect: the gate stays shut";
  }

 private:
  static constexpr std::uint64_t events = 120;
  static constexpr auto ack_wait = 300ms;
  static constexpr std::size_t max_ack_pending = 20;
  using Time = TakeOverGate::Time;

  [[nodiscard]] bool chance(int percent) {
    return std::uniform_int_distribution<int>{1, 100}(random_) <= percent;
  }
  [[nodiscard]] static std::string key_of(std::uint64_t sequence) { return std::to_string(sequence * 7 % 5); }
  [[nodiscard]] bool all_done() const { return done_.size() == events && pending_.empty(); }
  [[nodiscard]] HandedOut state() const { return {pending_.size(), consumer_sequence_, handed_out_}; }

  /// The owner dies; what it has is with the server, until AckWait. Some that it has committed were not
  /// acked.
  void take_over() {
    --deaths_left_;
    for (const auto sequence : committed_) late_acks_.insert(sequence);
    committed_.clear();
    here_.clear();
    came_.clear();
    queue_ = {};
    gate_.emplace(now_);
  }

  void late_ack() {
    if (late_acks_.empty()) return;
    pending_.erase(*late_acks_.begin());
    late_acks_.erase(late_acks_.begin());
  }

  /// One message, what comes again before what is new. The owner extends what it has.
  void deliver() {
    for (const auto sequence : here_)
      if (const auto found = pending_.find(sequence); found != pending_.end() && !chance(1))
        found->second = now_ + ack_wait;
    const auto again =
        std::ranges::find_if(pending_, [this](const auto& message) { return message.second <= now_; });
    std::uint64_t sequence = 0;
    if (again != pending_.end())
      sequence = again->first;
    else if (pending_.size() < max_ack_pending && handed_out_ < published_)
      sequence = ++handed_out_;
    if (sequence == 0) return;
    pending_[sequence] = now_ + ack_wait;
    ++consumer_sequence_;
    if (chance(5)) return;  // swallowed by a pull of the dead
    if (!gate_->received(sequence, consumer_sequence_, now_)) return;
    here_.insert(sequence);
    if (done_.contains(sequence)) return settle(sequence);  // the inbox knows it
    queue_.add(sequence, key_of(sequence));
    came_.push_back(sequence);
  }

  void handle() {
    auto taken = queue_.take(3, now_);
    if (without_ == Without::sort) {
      for (const auto sequence : taken) queue_.add(sequence, key_of(sequence));
      taken.clear();
      while (!came_.empty() && taken.empty()) {
        if (!done_.contains(came_.front())) taken.push_back(came_.front());
        came_.erase(came_.begin());
      }
    }
    std::set<std::string> failed;
    for (const auto sequence : taken) {
      const auto key = key_of(sequence);
      if (failed.contains(key) && without_ != Without::holds) {
        queue_.add(sequence, key);
      } else if (without_ != Without::sort && chance(10)) {
        failed.insert(key);
        queue_.add(sequence, key, now_ + 50ms);
      } else {
        take_effect(sequence);
      }
    }
  }

  void take_effect(std::uint64_t sequence) {
    auto& last = last_[key_of(sequence)];
    if (sequence <= last)
      error_ = "event " + std::to_string(sequence) + " took effect after " + std::to_string(last);
    last = sequence;
    done_.insert(sequence);
    if (chance(20))
      committed_.insert(sequence);  // its ack is lost, or late
    else
      settle(sequence);
    if (committed_.contains(sequence)) {
      here_.erase(sequence);
      gate_->left(sequence);
    }
  }
  void settle(std::uint64_t sequence) {
    pending_.erase(sequence);
    here_.erase(sequence);
    gate_->left(sequence);
  }

  std::mt19937 random_;
  const Without without_;
  Time now_{1h};
  int deaths_left_ = 6;
  std::string error_;
  // The server.
  std::uint64_t published_ = 0, handed_out_ = 0, consumer_sequence_ = 0;
  std::map<std::uint64_t, Time> pending_;  // with the end of its AckWait
  // The inbox.
  std::set<std::uint64_t> done_;
  std::map<std::string, std::uint64_t> last_;
  // The owner.
  std::optional<TakeOverGate> gate_;
  HoldQueue queue_;
  std::set<std::uint64_t> here_, committed_, late_acks_;
  std::vector<std::uint64_t> came_;
};

int failures(Without without, int seeds) {
  int count = 0;
  for (int seed = 1; seed <= seeds; ++seed)
    if (!Simulation{static_cast<unsigned>(seed), without}.run().empty()) ++count;
  return count;
}

const TakeOverGate::Time start{1h};

}  // namespace

TEST_CASE("owners that die, and deliveries that are lost, keep the order of each key") {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    REQUIRE(Simulation{seed, Without::nothing}.run() == "");
  }
}

TEST_CASE("the simulation sees that the gate, the order of sequences or the holds are missing") {
  CHECK(failures(Without::gate, 30) > 0);
  CHECK(failures(Without::sort, 30) > 0);
  CHECK(failures(Without::holds, 30) > 0);
}

TEST_CASE("a gate opens at once where nothing is handed out") {
  TakeOverGate gate{start};
  CHECK_FALSE(gate.open());
  gate.tell({.ack_pending = 0, .consumer_sequence = 42, .stream_sequence = 40});
  CHECK(gate.open());
  CHECK(gate.received(41, 43, start));
  CHECK(gate.open());
}

TEST_CASE("a gate waits for what a killed owner has left behind") {
  TakeOverGate gate{start};
  CHECK(gate.received(5, 11, start));
  gate.tell({.ack_pending = 2, .consumer_sequence = 11, .stream_sequence = 5});
  CHECK_FALSE(gate.open());
  CHECK(gate.missing() == 1);
  CHECK(gate.received(3, 12, start));
  CHECK_FALSE(gate.received(5, 13, start));                                      // a second copy
  gate.tell({.ack_pending = 2, .consumer_sequence = 12, .stream_sequence = 5});  // asked before that copy
  CHECK_FALSE(gate.open());
  gate.tell({.ack_pending = 2, .consumer_sequence = 13, .stream_sequence = 5});
  CHECK(gate.open());
}

TEST_CASE("a gate opens though the last message that was handed out is gone") {
  TakeOverGate gate{start};
  CHECK(gate.received(3, 8, start));
  gate.tell({.ack_pending = 1, .consumer_sequence = 9, .stream_sequence = 4});
  CHECK(gate.open());
}

TEST_CASE("a gap closes the gate, and is counted") {
  TakeOverGate gate{start};
  gate.tell({});
  CHECK(gate.received(1, 1, start));
  CHECK(gate.received(3, 3, start + 1s));
  CHECK_FALSE(gate.open());
  CHECK(gate.gaps() == 1);
  CHECK(gate.closed_since() == start + 1s);
}
