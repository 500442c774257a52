#include "consumer/key_queues.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>

using namespace tidings;

namespace {

using Tickets = std::vector<KeyQueues::Ticket>;

/// All that are ready, each left out.
Tickets take_all(KeyQueues& queues) {
  Tickets taken;
  while (const auto ticket = queues.next()) taken.push_back(*ticket);
  return taken;
}

/// What queues are meant to be, said as simply as can be: slow, and without a care for memory.
struct Model {
  std::map<std::string, std::deque<KeyQueues::Ticket>> waiting;
  std::set<std::string> out;
  std::deque<std::string> turn;  // of queues that may give one

  void open(const std::string& key) {
    if (!waiting[key].empty() && !out.contains(key) && std::ranges::count(turn, key) == 0)
      turn.push_back(key);
  }
  Tickets clear(const std::string& key) {
    Tickets cleared{waiting[key].begin(), waiting[key].end()};
    waiting[key].clear();
    std::erase(turn, key);
    return cleared;
  }
};

}  // namespace

TEST_CASE("a queue gives its tickets in order, and one at a time is out") {
  KeyQueues queues;
  CHECK_FALSE(queues.next());
  for (KeyQueues::Ticket ticket = 1; ticket <= 3; ++ticket) queues.add("a", ticket, ticket);
  for (KeyQueues::Ticket ticket = 1; ticket <= 3; ++ticket) {
    CHECK(queues.next() == ticket);
    CHECK_FALSE(queues.next());
    queues.done("a");
  }
  CHECK_FALSE(queues.next());
}

TEST_CASE("what is added while a queue is shut waits until it opens") {
  KeyQueues queues;
  queues.add("a", 1, 1);
  CHECK(queues.next() == 1U);
  queues.add("a", 2, 2);
  CHECK_FALSE(queues.next());
  queues.done("a");
  queues.add("a", 3, 3);
  CHECK(queues.next() == 2U);
  CHECK_FALSE(queues.next());
}

TEST_CASE("queues take turns, however long one of them is") {
  KeyQueues queues;
  for (KeyQueues::Ticket ticket = 1; ticket <= 100; ++ticket) queues.add("hot", ticket, ticket);
  queues.add("b", 101, 101);
  queues.add("c", 102, 102);
  CHECK(take_all(queues) == Tickets{1, 101, 102});
  queues.done("hot");
  queues.add("d", 103, 103);
  queues.done("b");
  queues.add("b", 104, 104);
  CHECK(take_all(queues) == Tickets{2, 103, 104});  // whoever has waited longest
}

TEST_CASE("clearing a queue gives what waits in it, in order, and leaves the others") {
  KeyQueues queues;
  queues.add("a", 1, 1);
  queues.add("b", 2, 2);
  queues.add("a", 3, 3);
  CHECK(queues.clear("a") == Tickets{1, 3});
  CHECK(queues.clear("a").empty());
  CHECK(queues.clear("unknown").empty());
  CHECK(take_all(queues) == Tickets{2});
  queues.add("a", 4, 4);  // as if it were new
  CHECK(take_all(queues) == Tickets{4});
}

TEST_CASE("a queue that is cleared while one of it is out stays shut until that one is done") {
  KeyQueues queues;
  for (KeyQueues::Ticket ticket = 1; ticket <= 3; ++ticket) queues.add("a", ticket, ticket);
  CHECK(queues.next() == 1U);
  CHECK(queues.clear("a") == Tickets{2, 3});
  queues.add("a", 4, 4);
  CHECK_FALSE(queues.next());
  queues.done("a");
  CHECK(take_all(queues) == Tickets{4});
}

TEST_CASE("clearing all empties every queue, and those with one out stay shut") {
  KeyQueues queues;
  queues.add("a", 1, 1);
  CHECK(queues.next() == 1U);
  queues.add("a", 2, 2);
  queues.add("b", 3, 3);
  queues.clear();
  CHECK_FALSE(queues.next());
  queues.add("a", 4, 4);
  queues.add("b", 5, 5);
  CHECK(take_all(queues) == Tickets{5});
  queues.done("a");
  CHECK(take_all(queues) == Tickets{4});
}

TEST_CASE("the end of a queue that nobody knows is nothing") {
  KeyQueues queues;
  queues.done("unknown");
  CHECK_FALSE(queues.next());
  queues.add("unknown", 1, 1);
  CHECK(queues.next() == 1U);
}

TEST_CASE("queues do as the model does, whatever is done to them") {
  const auto seed = GENERATE(range(1U, 21U));
  INFO("seed " << seed);
  std::mt19937 random{seed};
  const auto below = [&random](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
  KeyQueues queues;
  Model model;
  std::map<KeyQueues::Ticket, std::string> key_of;
  std::map<KeyQueues::Ticket, std::uint64_t> place_of;
  KeyQueues::Ticket ticket = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto key = std::string(1, static_cast<char>('a' + below(5)));
    const auto action = below(100);
    if (action < 40) {
      ++ticket;
      const auto place = below(10) > 0 ? ticket : below(ticket);  // some come late
      queues.add(key, ticket, place);
      key_of[ticket] = key;
      place_of[ticket] = place;
      model.waiting[key].push_back(ticket);
      std::ranges::stable_sort(model.waiting[key], {}, [&](auto waiting) { return place_of.at(waiting); });
      model.open(key);
    } else if (action < 70) {
      const auto taken = queues.next();
      REQUIRE(taken.has_value() == !model.turn.empty());
      if (!taken) continue;
      const auto queue = key_of.at(*taken);
      REQUIRE(queue == model.turn.front());
      REQUIRE(*taken == model.waiting[queue].front());
      model.turn.pop_front();
      model.waiting[queue].pop_front();
      model.out.insert(queue);
    } else if (action < 97) {
      if (model.out.erase(key) == 0) continue;
      queues.done(key);
      model.open(key);
    } else if (action < 99) {
      REQUIRE(queues.clear(key) == model.clear(key));
    } else {
      queues.clear();
      for (const auto& [queue, tickets] : model.waiting) model.clear(queue);
    }
  }
}
