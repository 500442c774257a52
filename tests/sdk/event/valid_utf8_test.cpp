#include "event/valid_utf8.hpp"

#include "support/catch.hpp"

using namespace tidings;

namespace {

std::string cut(std::string text, std::size_t longest) {
  cut_utf8(text, longest);
  return text;
}

}  // namespace

TEST_CASE("a text is cut where a character ends") {
  CHECK(cut("plain", 5) == "plain");
  CHECK(cut("plain", 4) == "plai");
  CHECK(cut("aä", 2) == "a");
  CHECK(cut("aä", 3) == "aä");
  CHECK(cut("a€", 3) == "a");
  CHECK(cut("a\U0001F600", 4) == "a");
  CHECK(cut("ä", 0).empty());
}

TEST_CASE("a text that is no UTF-8 is cut all the same, near to where it was to be") {
  CHECK(cut(std::string(10, '\x80'), 6).size() == 3);
}

TEST_CASE("what is no UTF-8, and NUL, is replaced in what PostgreSQL is to keep") {
  CHECK(valid_utf8("größe") == "größe");
  CHECK(valid_utf8("a\xff") == "a\xef\xbf\xbd");
  CHECK(valid_utf8(std::string{"a\0b", 3}) == "a b");
}
