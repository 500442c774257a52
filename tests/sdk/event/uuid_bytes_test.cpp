#include "event/uuid_bytes.hpp"

#include "support/catch.hpp"

using namespace tidings;

TEST_CASE("a UUID in its spelling has 16 bytes, and nothing else has") {
  const auto* const text =
      GENERATE("0198c5a2-00ff-7000-8000-0000000000ab", "f47ac10b-58cc-4372-a567-0e02b2c3d479");
  const auto bytes = uuid_bytes(text);
  REQUIRE(bytes);
  CHECK(bytes->size() == 16);
  CHECK(bytes->substr(6, 1) == (text[14] == '7' ? "\x70" : "\x43"));
  for (const auto* const other : {"", "sixteen letters!", "F47AC10B-58CC-4372-A567-0E02B2C3D479"})
    CHECK_FALSE(uuid_bytes(other));
}
