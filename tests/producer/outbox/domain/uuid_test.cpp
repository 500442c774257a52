#include "support/catch.hpp"

#include <tidings/uuid.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using tidings::new_uuid;
using tidings::Timestamp;

namespace {

/// The milliseconds that the first 48 bits hold.
std::uint64_t time_of(const std::string& id) {
  return std::stoull(id.substr(0, 8) + id.substr(9, 4), nullptr, 16);
}

}  // namespace

TEST_CASE("an event id has the form of a UUID of version 7") {
  for (int i = 0; i < 1000; ++i) {
    const auto id = new_uuid();
    INFO(id);
    REQUIRE(id.size() == 36);
    for (std::size_t at = 0; at < id.size(); ++at) {
      const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
      REQUIRE((dash ? id[at] == '-' : std::string("0123456789abcdef").find(id[at]) != std::string::npos));
    }
    REQUIRE(id[14] == '7');
    REQUIRE(std::string("89ab").find(id[19]) != std::string::npos);
  }
}

TEST_CASE("an event id begins with its time") {
  // Ids of one process never go back, so the times lie ahead of those of the other tests.
  const auto time = tidings::now() + 24h;
  CHECK(time_of(new_uuid(time)) == static_cast<std::uint64_t>(time.time_since_epoch().count()));
}

TEST_CASE("event ids of one process are in the order of the calls, also when the clock steps back") {
  auto time = tidings::now() + 48h;
  auto last = new_uuid(time);
  for (int i = 0; i < 20000; ++i) {
    if (i % 1000 == 0) time -= 1s;
    auto id = new_uuid(time);
    REQUIRE(last < id);
    last = std::move(id);
  }
}

TEST_CASE("event ids that threads make at once are all different") {
  constexpr std::size_t each = 5000;
  std::vector<std::vector<std::string>> made(4);
  {
    std::vector<std::jthread> threads;
    for (auto& ids : made)
      threads.emplace_back([&ids] {
        for (std::size_t i = 0; i < each; ++i) ids.push_back(new_uuid());
      });
  }
  std::set<std::string> all;
  for (const auto& ids : made) {
    CHECK(std::is_sorted(ids.begin(), ids.end()));
    all.insert(ids.begin(), ids.end());
  }
  CHECK(all.size() == made.size() * each);
}

TEST_CASE("a forked child makes other ids than its parent") {
  const auto time = Timestamp{std::chrono::days{20000}};
  REQUIRE_FALSE(new_uuid(time).empty());  // the generator is in use before the fork
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const auto child = ::fork();
  if (child == 0) {
    const auto id = new_uuid(time);
    ::_exit(::write(ends[1], id.data(), id.size()) == static_cast<ssize_t>(id.size()) ? 0 : 1);
  }
  const auto ours = new_uuid(time);
  std::string theirs(ours.size(), ' ');
  REQUIRE(::read(ends[0], theirs.data(), theirs.size()) == static_cast<ssize_t>(theirs.size()));
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(ours != theirs);
}
