#include "support/catch.hpp"
#include "support/environment.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

using namespace std::chrono_literals;
using namespace tidings::test;
using tidings::DatabaseUrl;
using tidings::SettingError;
namespace settings = tidings::settings;

namespace {

const char* const name = "TIDINGS_TEST_SETTING";

}  // namespace

TEST_CASE("a setting that is missing or empty gives the fallback") {
  for (const auto& value : {std::optional<std::string>{}, std::optional<std::string>{""}}) {
    const EnvironmentVariable variable{name, value};
    CHECK(settings::text(name) == std::nullopt);
    CHECK(settings::text_or(name, "other") == "other");
    CHECK(settings::integer_or(name, 7, 1, 10) == 7);
    CHECK(settings::milliseconds_or(name, 7s, 1ms, 10s) == 7s);
  }
}

TEST_CASE("a text is taken as it is given") {
  const EnvironmentVariable variable{name, " a=b, c "};
  CHECK(settings::text(name) == " a=b, c ");
  CHECK(settings::text_or(name, "other") == " a=b, c ");
}

TEST_CASE("the environment is read at each call") {
  const EnvironmentVariable first{name, "1"};
  CHECK(settings::integer_or(name, 0, 0, 10) == 1);
  const EnvironmentVariable second{name, "2"};
  CHECK(settings::integer_or(name, 0, 0, 10) == 2);
}

TEST_CASE("a whole number is taken with its limits included") {
  const auto read = [](const std::string& value) {
    const EnvironmentVariable variable{name, value};
    return settings::integer_or(name, 0, -5, 100);
  };
  CHECK(read("-5") == -5);
  CHECK(read("0") == 0);
  CHECK(read("007") == 7);
  CHECK(read("100") == 100);
  const EnvironmentVariable variable{name, "250"};
  CHECK(settings::milliseconds_or(name, 1s, 250ms, 250ms) == 250ms);
}

TEST_CASE("an unusable number is an error with the name, the value and what is taken") {
  const auto value = GENERATE(as<std::string>{}, "-6", "101", "ten", "1.5", "1e2", " 1", "1 ", "5s", "0x5",
                              "+5", "99999999999999999999", "--1", "-");
  INFO(value);
  const EnvironmentVariable variable{name, value};
  const auto error = error_of<SettingError>([] { (void)settings::integer_or(name, 0, -5, 100); });
  CHECK_THAT(error, ContainsSubstring(name) && ContainsSubstring(value) && ContainsSubstring("-5") &&
                        ContainsSubstring("100"));
  CHECK_THROWS_AS(settings::milliseconds_or(name, 0ms, -5ms, 100ms), SettingError);
}

TEST_CASE("a setting error is not worth trying again") {
  const EnvironmentVariable variable{name, "ten"};
  try {
    (void)settings::integer_or(name, 0, 0, 1);
    FAIL("taken");
  } catch (const tidings::Error& error) {
    CHECK_FALSE(error.retryable());
  }
}

TEST_CASE("a database URL names a SQLite file in every form that is in use") {
  const auto path = [](const std::string& url) {
    const auto parsed = DatabaseUrl::parse(url);
    CHECK(parsed.kind == DatabaseUrl::Kind::sqlite);
    return parsed.location;
  };
  CHECK(path("sqlite:auth.db") == "auth.db");
  CHECK(path("sqlite:/var/lib/auth.db") == "/var/lib/auth.db");
  CHECK(path("sqlite:///var/lib/auth.db") == "/var/lib/auth.db");
  CHECK(path("sqlite://auth.db") == "auth.db");
  CHECK(path("sqlite://./auth.db") == "./auth.db");
  CHECK(path("file:./auth.db") == "./auth.db");
  CHECK(path("file:./auth.db?connection_limit=1") == "./auth.db");
  CHECK(path("file:///var/lib/auth.db") == "/var/lib/auth.db");
  CHECK(path("auth.db") == "auth.db");
  CHECK(path("sqlite:with space.db") == "with space.db");
}

TEST_CASE("a PostgreSQL URL is kept whole") {
  for (const std::string url :
       {"postgresql://user:secret@host:5433/auth?schema=public", "postgres://host/auth"}) {
    const auto parsed = DatabaseUrl::parse(url);
    CHECK(parsed.kind == DatabaseUrl::Kind::postgresql);
    CHECK(parsed.location == url);
  }
}

TEST_CASE("a database URL of another kind is an error that names the setting and what it takes") {
  const auto url =
      GENERATE(as<std::string>{}, "mysql://host/auth", "mongodb://host/auth", "", "sqlite:", "file:?x=1");
  INFO(url);
  const auto error = error_of<SettingError>([&] { (void)DatabaseUrl::parse(url, "CONSUMER_DATABASE_URL"); });
  CHECK_THAT(error, ContainsSubstring("CONSUMER_DATABASE_URL") && ContainsSubstring(url) &&
                        ContainsSubstring("sqlite:") && ContainsSubstring("postgresql:"));
  CHECK_THAT(error_of<SettingError>([&] { (void)DatabaseUrl::parse(url); }),
             ContainsSubstring("DATABASE_URL"));
}

TEST_CASE("an error about a database URL does not tell its password") {
  const auto* const url =
      GENERATE("mysql://auth:s3cret@host/auth", "mysql://host/auth?user=auth&password=s3cret");
  const auto error = error_of<SettingError>([&] { (void)DatabaseUrl::parse(url); });
  CHECK_THAT(error, !ContainsSubstring("s3cret"));
}
