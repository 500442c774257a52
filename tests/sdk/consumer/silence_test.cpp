#include "consumer/silence.hpp"

#include "support/catch.hpp"

#include <chrono>

using namespace std::chrono_literals;
using tidings::Silence;
using tidings::TenureStore;

namespace {

const Silence::Time start{1h};

/// What is read at once.
bool observe(Silence& silence, const TenureStore::Seen& seen, Silence::Time at) {
  return silence.observe(seen, at, at);
}

}  // namespace

TEST_CASE("an owner that does not beat for a lease is silent") {
  Silence silence{10s};
  for (auto after = 0s; after < 10s; after += 2s) CHECK_FALSE(observe(silence, {"a", 1}, start + after));
  CHECK(observe(silence, {"a", 1}, start + 10s));
}

TEST_CASE("a beat, or another owner, starts the count of silence anew") {
  Silence silence{10s};
  for (auto after = 0s; after < 9s; after += 3s) CHECK_FALSE(observe(silence, {"a", 1}, start + after));
  for (auto after = 9s; after < 18s; after += 3s) CHECK_FALSE(observe(silence, {"a", 2}, start + after));
  for (auto after = 18s; after < 27s; after += 3s) CHECK_FALSE(observe(silence, {"b", 2}, start + after));
  CHECK(observe(silence, {"b", 2}, start + 28s));
}

TEST_CASE("a group without an owner is free at once") {
  Silence silence{10s};
  CHECK(observe(silence, {"", 7}, start));
}

TEST_CASE("an observer that was frozen itself counts anew") {
  Silence silence{10s};
  CHECK_FALSE(observe(silence, {"a", 1}, start));
  CHECK_FALSE(observe(silence, {"a", 1}, start + 1min));  // the beat may have moved in between, and back
  for (auto after = 62s; after < 70s; after += 2s) CHECK_FALSE(observe(silence, {"a", 1}, start + after));
  CHECK(observe(silence, {"a", 1}, start + 70s));
}

TEST_CASE("a read that took long tells of the time at which it was asked") {
  Silence silence{10s};
  for (auto after = 0s; after < 8s; after += 4s) CHECK_FALSE(observe(silence, {"a", 1}, start + after));
  CHECK_FALSE(silence.observe({"a", 1}, start + 8s, start + 9s));
  CHECK_FALSE(silence.observe({"a", 1}, start + 9s, start + 13s));
}

TEST_CASE("what could not be read starts the count anew") {
  Silence silence{10s};
  for (auto after = 0s; after < 10s; after += 3s) CHECK_FALSE(observe(silence, {"a", 1}, start + after));
  silence.failed();
  CHECK_FALSE(observe(silence, {"a", 1}, start + 12s));
}

TEST_CASE("a lock that was met gives the owner half a lease to show that it lives") {
  Silence silence{10s};
  for (auto after = 0s; after < 10s; after += 2s) CHECK_FALSE(observe(silence, {"a", 1}, start + after));
  CHECK(observe(silence, {"a", 1}, start + 10s));
  silence.met_lock(start + 10s);
  CHECK_FALSE(observe(silence, {"a", 1}, start + 12s));
  CHECK_FALSE(observe(silence, {"a", 1}, start + 14s));
  CHECK(observe(silence, {"a", 1}, start + 15s));
}
