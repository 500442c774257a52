#include "event/base64.hpp"

#include "support/catch.hpp"

#include <string>

using tidings::decode_base64;

TEST_CASE("base64 text is read as RFC 4648 has it") {
  CHECK(decode_base64("") == "");
  CHECK(decode_base64("Zg==") == "f");
  CHECK(decode_base64("Zm8=") == "fo");
  CHECK(decode_base64("Zm9v") == "foo");
  CHECK(decode_base64("Zm9vYmFy") == "foobar");
  CHECK(decode_base64("AP+/gA==") == std::string("\x00\xff\xbf\x80", 4));
}

TEST_CASE("what is not base64 has no bytes") {
  for (const char* text :
       {"Z", "Zg", "Zg=", "Zg===", "====", "=Zg=", "Zm9v\n", "Zm-_", "Zh==", "Zm9=", "Zg==Zg=="})
    CHECK_FALSE(decode_base64(text));
}
