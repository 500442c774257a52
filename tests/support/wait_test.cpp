#include "support/wait.hpp"

using namespace tidings::test;

TEST_CASE("eventually asks until the condition is true") {
  int asked = 0;
  CHECK(eventually(10s, [&asked] { return ++asked == 3; }));
  CHECK(asked == 3);
}

TEST_CASE("eventually gives up at the deadline, and has asked at least once") {
  int asked = 0;
  CHECK_FALSE(eventually(0ms, [&asked] { return ++asked < 0; }));
  CHECK(asked == 1);

  const auto start = std::chrono::steady_clock::now();
  CHECK_FALSE(eventually(30ms, [] { return false; }));
  CHECK(std::chrono::steady_clock::now() - start >= 30ms);
}

TEST_CASE("error_of gives the words of an error and lets other errors through") {
  const auto fail = [] { throw std::out_of_range("too far"); };
  CHECK(error_of<std::out_of_range>(fail) == "too far");
  CHECK(error_of<std::logic_error>(fail) == "too far");
  CHECK_THROWS_AS(error_of<std::runtime_error>(fail), std::out_of_range);
  CHECK_THROWS_WITH(error_of<std::out_of_range>([] {}), ContainsSubstring("nothing was thrown"));
}
