#include "event/uuid_bytes.hpp"

#include "support/catch.hpp"

using namespace tidings;

TEST_CASE("a UUID is the same in its spelling and in its bytes") {
  const auto* const text =
      GENERATE("0198c5a2-00ff-7000-8000-0000000000ab", "f47ac10b-58cc-4372-a567-0e02b2c3d479");
  const auto bytes = uuid_bytes(text);
  REQUIRE(bytes);
  CHECK(bytes->size() == 16);
  CHECK(uuid_text(*bytes) == text);
}

TEST_CASE("bytes that are no UUID have no spelling") {
  for (const std::string bytes : {"", "sixteen letters!", "seventeen letters"}) CHECK_FALSE(uuid_text(bytes));
  auto bytes = *uuid_bytes("f47ac10b-58cc-4372-a567-0e02b2c3d479");
  bytes[6] = '\x03';  // version 0
  CHECK_FALSE(uuid_text(bytes));
  bytes[6] = '\x43';
  CHECK(uuid_text(bytes));
  bytes[8] = '\x25';  // another variant
  CHECK_FALSE(uuid_text(bytes));
  CHECK_FALSE(uuid_text(std::string(16, '\0')));
}
