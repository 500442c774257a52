#include "nats/partition.hpp"

#include "support/catch.hpp"

#include <string>
#include <string_view>
#include <utility>

using namespace tidings;
using namespace std::string_view_literals;

TEST_CASE("the hash is FNV-1a of 32 bits") {
  // From the test suite of the hash's authors.
  const auto [text, hash] =
      GENERATE(table<std::string_view, std::uint32_t>({{"", 0x811c9dc5U},
                                                       {"a", 0xe40c292cU},
                                                       {"b", 0xe70c2de5U},
                                                       {"f", 0xe30c2799U},
                                                       {"fo", 0x6222e842U},
                                                       {"foo", 0xa9f37ed7U},
                                                       {"foob", 0x3f5076efU},
                                                       {"fooba", 0x39aaa18aU},
                                                       {"foobar", 0xbf9cf968U},
                                                       {"\0"sv, 0x050c5d1fU},
                                                       {"chongo was here!\n", 0xd49930d5U},
                                                       {"\xcc\x24\x31\xc4", 0}}));
  CAPTURE(text);
  CHECK(fnv1a_32(text) == hash);
}

TEST_CASE("an aggregate has one partition, and many aggregates fill all of them") {
  const int of = GENERATE(1, 2, 16, Partition::most);
  std::vector<int> aggregates(static_cast<std::size_t>(of), 0);
  for (int i = 0; i < 100 * of; ++i) {
    const auto partition = Partition::of_aggregate("user-" + std::to_string(i), of);
    REQUIRE(partition.of == of);
    ++aggregates.at(static_cast<std::size_t>(partition.number));
  }
  for (const auto count : aggregates) CHECK(count > 50);
  static_assert(Partition::of_aggregate("foobar", 16).number == 8);
}

TEST_CASE("a partition is a token of a subject") {
  std::string subject = "auth.events.";
  Partition{.number = 7, .of = 16}.append_token_to(subject);
  CHECK(subject == "auth.events.p07of16");
  CHECK(subject.size() == std::string_view{"auth.events."}.size() + Partition::token_size);
  for (int of = 1; of <= Partition::most; ++of)
    for (int number = 0; number < of; ++number) {
      std::string token;
      Partition{.number = number, .of = of}.append_token_to(token);
      REQUIRE(Partition::parse(token) == Partition{.number = number, .of = of});
    }
  CHECK(Partition::parse("p1of2") == Partition{.number = 1, .of = 2});  // of another publisher
}

TEST_CASE("other tokens name no partition") {
  const auto* const token = GENERATE("", "p", "of", "pof", "p1of", "pof2", "user", "profile", "p1of2x",
                                     "p-1of2", "p1of-2", "p 1of2", "1of2", "*", "p99999999999of2");
  CAPTURE(token);
  CHECK_FALSE(Partition::parse(token));
}
