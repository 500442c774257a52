// Holds of aggregates in instances that run on a server of numbers: what comes late, in which order, and
// what goes to others is drawn at random, and hours take seconds.

#include "consumer/key_order.hpp"
#include "support/catch.hpp"
#include "support/key_order.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace tidings;
using namespace std::chrono_literals;

namespace {

using Clock = KeyOrder::Clock;
using Time = Clock::time_point;
using std::chrono::milliseconds;

struct Random {
  std::mt19937 engine;

  [[nodiscard]] bool chance(double share) { return std::bernoulli_distribution{share}(engine); }
  [[nodiscard]] milliseconds upto(milliseconds most) {
    return milliseconds{std::uniform_int_distribution<milliseconds::rep>{0, most.count()}(engine)};
  }
};

struct Message {
  std::uint64_t sequence = 0;           // on the stream
  std::uint64_t consumer_sequence = 0;  // of this delivery
  int delivered = 0;
  Time arrives;
};

struct Settled {
  std::uint64_t sequence = 0;
  milliseconds delay{-1};  // acked when negative
  Time arrives;
};

/// What keeps a message from being where it should be: on the way, at the server, in the handler.
struct Delays {
  milliseconds way, timer, handler;
};

/// A line between an instance and the server: what goes over it keeps its order.
template <class What>
class Line {
 public:
  void send(What what, Time at) {
    last_ = what.arrives = std::max(at, last_);
    under_way_.push_back(std::move(what));
  }
  [[nodiscard]] std::vector<What> receive(Time now, std::size_t most = SIZE_MAX) {
    std::vector<What> received;
    for (; received.size() < most && !under_way_.empty() && under_way_.front().arrives <= now;
         under_way_.pop_front())
      received.push_back(under_way_.front());
    return received;
  }
  [[nodiscard]] std::size_t size() const { return under_way_.size(); }

 private:
  std::deque<What> under_way_;
  Time last_ = Time::min();
};

struct Instance {
  test::KeyHolds held;
  Line<Message> inbox;
  Line<Settled> answers;
  Time busy_until;
};

/// One group on a stream of events, and what its instances do with them.
struct Group {
  Group(unsigned seed, std::size_t instances_count, std::uint64_t events_count, int keys_count, Delays delays)
      : random{std::mt19937{seed}},
        instances(instances_count),
        events(events_count),
        keys(keys_count),
        late(delays) {}

  [[nodiscard]] std::string key_of(std::uint64_t sequence) const {
    return "key-" + std::to_string(sequence % static_cast<std::uint64_t>(keys));
  }

  /// Until all is settled; false when that takes longer than `most`.
  [[nodiscard]] bool run(milliseconds most) {
    for (const auto end = now + most; settled < events; now += 1ms) {
      if (now >= end) return false;
      for (auto& instance : instances) read_answers(instance);
      look_for_due();
      hand_out();
      for (auto& instance : instances) work(instance);
    }
    return true;
  }

  void read_answers(Instance& instance) {
    for (const auto& answer : instance.answers.receive(now)) {
      if (answer.delay < 0ms)
        ++settled;
      else
        due[answer.sequence] = now + answer.delay;
    }
  }

  /// The server looks when its timer fires: in the order of the stream what is due by then.
  void look_for_due() {
    if (now < next_look) return;
    next_look = now + 1ms + random.upto(late.timer);
    std::erase_if(due, [this](const auto& entry) {
      if (entry.second > now) return false;
      again.push_back(entry.first);
      return true;
    });
  }

  /// To whoever has room, in turn; what comes again before what is new.
  void hand_out() {
    for (std::size_t full = 0; full < instances.size();) {
      if (again.empty() && (next_new > events || now < next_new_at)) return;
      auto& instance = instances[turn++ % instances.size()];
      if (instance.inbox.size() >= prefetch) {
        ++full;
        continue;
      }
      std::uint64_t sequence = 0;
      if (again.empty()) {
        sequence = next_new++;
        if (random.chance(0.01)) next_new_at = now + random.upto(late.way * 10);
      } else {
        sequence = again.front();
        again.pop_front();
      }
      instance.inbox.send({sequence, ++consumer_sequence, ++delivered[sequence], {}},
                          now + random.upto(late.way));
    }
  }

  void work(Instance& instance) {
    if (now < instance.busy_until) return;
    auto batch = instance.inbox.receive(now, 50);
    for (const auto& message : batch) instance.held.arrived(message.consumer_sequence, message.arrives);
    std::ranges::stable_sort(batch, {}, &Message::sequence);
    auto end = now;
    std::vector<std::pair<std::uint64_t, milliseconds>> back;
    for (const auto& message : batch) {
      const auto sequence = message.sequence;
      const auto key = key_of(sequence);
      if (instance.held.holds(key, sequence)) {
        const auto delay = instance.held.hold_behind(key, sequence, end);
        ++held_back;
        instance.answers.send({sequence, delay, {}}, end + random.upto(late.way));
        continue;
      }
      end += random.chance(0.02) ? random.upto(late.handler) : 0ms;
      if (attempts[sequence]++ < 3 && random.chance(failing)) {
        const auto delay = 20ms + random.upto(500ms);
        ++retried;
        instance.held.hold(key, sequence, end + delay);
        instance.answers.send({sequence, delay, {}}, end + random.upto(late.way));
      } else {
        instance.held.release(key, sequence);
        auto& last = last_handled[key];
        if (sequence < last) ++inversions;
        last = std::max(last, sequence);
        instance.answers.send({sequence, -1ms, {}}, end + random.upto(late.way));
      }
    }
    instance.busy_until = end;
  }

  Random random;
  std::vector<Instance> instances;
  const std::uint64_t events;
  const int keys;
  const Delays late;
  double failing = 0.1;
  std::size_t prefetch = 200;

  Time now{1h}, next_look{}, next_new_at{};
  std::map<std::uint64_t, Time> due;
  std::deque<std::uint64_t> again;
  std::map<std::uint64_t, int> delivered, attempts;
  std::uint64_t next_new = 1, consumer_sequence = 0;
  std::size_t turn = 0;
  std::map<std::string, std::uint64_t> last_handled;
  std::uint64_t settled = 0, held_back = 0, retried = 0;
  int inversions = 0;
};

constexpr Delays quiet{1ms, 1ms, 5ms}, busy{100ms, 50ms, 1s}, very_busy{1s, 500ms, 5s};

}  // namespace

TEST_CASE("an instance that is alone handles the events of an aggregate in order, however late all comes") {
  const auto seed = GENERATE(range(1U, 6U));
  const auto late = GENERATE(quiet, busy, very_busy);
  const int keys = GENERATE(1, 20);
  Group group{seed, 1, 1500, keys, late};
  INFO("seed " << seed << ", " << late.way.count() << " ms, keys " << keys);
  REQUIRE(group.run(30min));
  CHECK(group.inversions == 0);
  CHECK(group.held_back <= group.retried * group.events);
}

TEST_CASE("two instances come to the end of a hot aggregate") {
  const auto seed = GENERATE(range(1U, 6U));
  const auto late = GENERATE(quiet, busy);
  Group group{seed, 2, 1500, 1, late};
  group.prefetch = GENERATE(200U, 2000U);
  INFO("seed " << seed << ", " << late.way.count() << " ms, prefetch " << group.prefetch);
  REQUIRE(group.run(2min));
  CHECK(group.held_back <= group.retried * group.events);
}
