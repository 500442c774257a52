// Who may ask for health and metrics.

#include "http/listener.hpp"
#include "support/catch.hpp"
#include "support/environment.hpp"
#include "support/temp_dir.hpp"

#include <tidings/error.hpp>
#include <tidings/http_options.hpp>

#include <fstream>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("only an address of this machine alone is loopback") {
  for (const auto* const host : {"127.0.0.1", "127.9.9.9", "::1", "localhost"})
    CHECK(Address{.host = host}.is_loopback());
  for (const auto* const host :
       {"0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example.org", "128.0.0.1", "example.org"})
    CHECK_FALSE(Address{.host = host}.is_loopback());
}

TEST_CASE("an address that others can reach needs a token") {
  CHECK_THROWS_AS((HttpOptions{.listen = "0.0.0.0:9464"}.validate()), SettingError);
  CHECK_NOTHROW((HttpOptions{.listen = "0.0.0.0:9464", .token = "secret"}.validate()));
  CHECK_NOTHROW((HttpOptions{.listen = "127.0.0.1:9464"}.validate()));
  CHECK_THROWS_AS((HttpOptions{.listen = "127.0.0.1"}.validate()), SettingError);
  CHECK_THROWS_AS((HttpOptions{.listen = "127.0.0.1:1", .token = "two words"}.validate()), SettingError);
}
