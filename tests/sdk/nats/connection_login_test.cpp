// Logins by token, user or nkey: refused at once, and without the secret.

#include "nats/nkey.hpp"
#include "support/catch.hpp"
#include "support/connecting.hpp"
#include "support/temp_dir.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <fstream>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

// The pair from the documentation of NATS: known to all, so it guards nothing.
const std::string seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const std::string public_key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

}  // namespace

TEST_CASE("a refused token is told at once, without the token") {
  auto server = server_with(R"(authorization { token: "right-token" })");
  auto options = options_of(server.url());
  options.token = "wrong-token";
  const auto error = error_of<NatsError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("refuses the login"));
  CHECK_THAT(error, ContainsSubstring("with token"));
  CHECK_THAT(error, !ContainsSubstring("wrong-token"));

  options.token = "right-token";
  CHECK(Connection{options}.connected());
}

TEST_CASE("a refused password is told at once, with the user and without the password") {
  auto server = server_with(R"(authorization { user: "bob", password: "right-word" })");
  auto options = options_of(server.url());
  options.user = "bob";
  options.password = "wrong-word";
  const auto error = error_of<NatsError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("user bob and password"));
  CHECK_THAT(error, !ContainsSubstring("wrong-word"));

  options.password = "right-word";
  CHECK(Connection{options}.connected());
}

TEST_CASE("a login in the URL that is refused does not show") {
  auto server = server_with(R"(authorization { user: "bob", password: "right-word" })");
  const auto host = "127.0.0.1:" + std::to_string(server.port());
  const auto error = error_of<NatsError>([&] {
    Connection connection{options_of("nats://bob:wrong-word@" + host), std::stop_token{}};
  });
  CHECK_THAT(error, ContainsSubstring(host));
  CHECK_THAT(error, !ContainsSubstring("wrong-word"));
  CHECK(Connection{options_of("nats://bob:right-word@" + host)}.connected());
}

TEST_CASE("a login in the URL may be percent-encoded, a token as well") {
  struct Case {
    std::string authorization, login;
  };
  const auto is = GENERATE(values<Case>({
      {R"(user: "bob@shop", password: "p:a/ss@wo%rd")", "bob%40shop:p%3Aa%2Fss%40wo%25rd@"},
      {R"(user: "bob", password: "50%off")", "bob:50%off@"},  // taken as it is
      {R"(token: "a/b+c=")", "a%2Fb+c%3d@"},
  }));
  auto server = server_with("authorization { " + is.authorization + " }");
  const auto host = "127.0.0.1:" + std::to_string(server.port());
  CHECK(Connection{options_of("nats://" + is.login + host)}.connected());
  auto several = options_of("nats://" + is.login + host);
  several.urls.push_back("nats://" + is.login + "127.0.0.1:1");
  CHECK(Connection{several}.connected());
  const auto error =
      error_of<NatsError>([&] { Connection connection{options_of("nats://%62ob:w%40rong@" + host)}; });
  CHECK_THAT(error, ContainsSubstring("user bob and password"));
  CHECK_THAT(error, !ContainsSubstring("rong"));
}

TEST_CASE("different logins of servers are an error when one is percent-encoded, without the secrets") {
  auto options = options_of("nats://bob:on%65@127.0.0.1:1");
  options.urls.push_back("nats://bob:two@127.0.0.1:2");
  const auto error = error_of<SettingError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("NATS_URL"));
  CHECK_THAT(error, !ContainsSubstring("on%65") && !ContainsSubstring("two"));
}

TEST_CASE("an nkey logs in with the seed file alone") {
  const TempDir folder;
  const auto file = (folder / "user.nk").string();
  std::ofstream{file} << seed << '\n';
  CHECK(nkey_public(file) == public_key);

  auto server = server_with("authorization { users: [ { nkey: " + public_key + " } ] }");
  auto options = options_of(server.url());
  options.nkey_seed_file = file;
  CHECK(Connection{options}.connected());
}

TEST_CASE("no login in a thousand is refused for the signature that it happens to need") {
  const TempDir folder;
  const auto file = (folder / "user.nk").string();
  std::ofstream{file} << seed << '\n';
  auto server = server_with("authorization { users: [ { nkey: " + public_key + " } ] }");
  auto options = options_of(server.url());
  options.nkey_seed_file = file;
  for (int login = 0; login < 1000; ++login) REQUIRE_NOTHROW(Connection{options});
}

TEST_CASE("an nkey that the server does not know is refused, with the file's name and without the seed") {
  const TempDir folder;
  const auto file = (folder / "user.nk").string();
  std::ofstream{file} << seed << '\n';
  auto server = server_with(R"(authorization { token: "t" })");
  auto options = options_of(server.url());
  options.nkey_seed_file = file;
  const auto error = error_of<NatsError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("nkey seed file " + file));
  CHECK_THAT(error, !ContainsSubstring(seed));
}

TEST_CASE("a seed file that holds none is an error with its name") {
  const TempDir folder;
  const std::string text = GENERATE_REF(as<std::string>{}, "", "hello\n", public_key, seed.substr(1),
                                        "SU" + seed, "SU0018" + seed.substr(6));
  std::ofstream{folder / "user.nk"} << text;
  const auto file = (folder / "user.nk").string();
  CHECK_THAT(error_of<SettingError>([&] { (void)nkey_public(file); }),
             ContainsSubstring("NATS_NKEY=" + file));
  CHECK_THROWS_AS((void)nkey_public((folder / "missing.nk").string()), SettingError);
}

TEST_CASE("a seed is found among other lines, whatever their ends") {
  const TempDir folder;
  std::ofstream{folder / "user.nk"} << "-----BEGIN USER NKEY SEED-----\r\n"
                                    << seed << "\r\n------END-----\r\n";
  CHECK(nkey_public((folder / "user.nk").string()) == public_key);
}
