#include "event/json_scanner.hpp"

#include "support/catch.hpp"

#include <nlohmann/json.hpp>

#include <random>
#include <string>

using namespace tidings;

namespace {

bool accepts(const std::string& text) {
  JsonScanner scanner{text};
  return scanner.take_value() && scanner.at_end();
}

}  // namespace

TEST_CASE("the scanner takes what RFC 8259 allows") {
  const auto text =
      GENERATE(as<std::string>{}, "{}", "[]", " [ ] ", "0", "-0", "-0.5e+3", "1E-2", "true", "null",
               R"("\u00e9\ud83d\ude00\/\b")", "\"Zoë 😀\"", R"({"a":[1,{"b":null}],"":""})");
  INFO(text);
  CHECK(accepts(text));
}

TEST_CASE("the scanner refuses what RFC 8259 does not allow") {
  const auto text = GENERATE(as<std::string>{}, "", " ", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "01",
                             "1.", ".5", "+1", "-", "1e", "tru", "nul", "\"", "\"\\x\"", "\"\\u12g4\"",
                             "\"\\ud83d\"", "\"\\ude00\"", "\"a\nb\"", "1 2", "[1}", "\"\xff\"",
                             "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xc3\"");
  INFO(text);
  CHECK_FALSE(accepts(text));
}

TEST_CASE("nesting has an end") {
  CHECK(accepts(std::string(1000, '[') + std::string(1000, ']')));
  CHECK_FALSE(accepts(std::string(1001, '[') + std::string(1001, ']')));
  CHECK_FALSE(accepts(std::string(100000, '[') + std::string(100000, ']')));
}

TEST_CASE("the scanner agrees with nlohmann/json on mangled documents") {
  const std::string seedling =
      R"({"data":{"n":-1.5e3,"t":"a\u00e9\n\\ü","l":[true,false,null,{}]},"metadata":{"x":0}})";
  std::mt19937 random{7};
  const auto below = [&random](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>{0, limit - 1}(random);
  };
  const std::string letters = "{}[]\",:\\0123456789eE+-.truefalsn \n\tü\xff";
  int accepted = 0;
  for (int i = 0; i < 200000; ++i) {
    auto text = seedling;
    for (auto changes = below(3); changes > 0; --changes) {
      const auto at = below(text.size());
      const auto kind = below(3);
      if (kind == 0) text[at] = letters[below(letters.size())];
      if (kind == 1) text.insert(at, 1, letters[below(letters.size())]);
      if (kind == 2) text.erase(at, 1 + below(3));
    }
    const bool ours = accepts(text);
    accepted += ours ? 1 : 0;
    if (ours != nlohmann::json::accept(text)) {
      INFO(text);
      REQUIRE(ours == nlohmann::json::accept(text));
    }
  }
  CHECK(accepted > 1000);
}
