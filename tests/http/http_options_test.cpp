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

TEST_CASE("the token may be the first line of a file") {
  const TempDir folder;
  const auto path = (folder / "token").string();
  const auto write = [&path](const std::string& text) { std::ofstream{path} << text; };
  const EnvironmentVariable no_token{"TIDINGS_HTTP_TOKEN", std::nullopt};
  const EnvironmentVariable file{"TIDINGS_HTTP_TOKEN_FILE", path};
  const auto listen = [] { return HttpOptions::from_environment("0.0.0.0:9464"); };
  CHECK_THROWS_AS(listen(), SettingError);  // there is no such file
  for (const std::string empty : {"", "\n", "\na-secret\n"}) {
    write(empty);
    CHECK_THROWS_AS(listen(), SettingError);
  }
  for (const std::string text : {"a-secret", "a-secret\n", "a-secret\nmore\n"}) {
    write(text);
    CHECK(listen().token == "a-secret");
  }
  CHECK_NOTHROW(listen().validate());
  write("two words\n");
  CHECK_THROWS_AS(listen(), SettingError);
  write("a-secret\n");
  const EnvironmentVariable both{"TIDINGS_HTTP_TOKEN", "another"};
  CHECK_THROWS_AS(listen(), SettingError);
}
