// Logins with credentials of a server with operators.

#include "support/nats_operator.hpp"
#include "support/nats_server.hpp"
#include "support/refused_login.hpp"
#include "support/temp_dir.hpp"

#include <chrono>
#include <fstream>
#include <sstream>
#include <stop_token>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

/// A server that knows its users by what their account has signed, and a file to log in with.
struct OperatorServer {
  [[nodiscard]] ConnectionOptions options(const std::string& credentials) const {
    ConnectionOptions options;
    options.urls = {server.url()};
    options.credentials_file = (folder / "user.creds").string();
    std::ofstream{options.credentials_file} << credentials;
    return options;
  }
  /// Nothing of the file is told, neither token nor seed.
  void check_refused(const std::string& told, const std::string& credentials) const {
    CAPTURE(told);
    CHECK_THAT(told, ContainsSubstring("credentials file " + (folder / "user.creds").string()));
    std::istringstream lines{credentials};
    for (std::string line; std::getline(lines, line);)
      if (!line.empty()) CHECK_THAT(told, !ContainsSubstring(line));
  }

  NatsOperator authority;
  NatsServer server{{.config = authority.config(), .arguments = {}, .jetstream = true, .monitoring = false}};
  TempDir folder;
};

}  // namespace

TEST_CASE("a credentials file logs in where an operator's server knows its account") {
  OperatorServer with;
  Connection connection{with.options(with.authority.credentials()), std::stop_token{}};
  CHECK(connection.flush(5s));
  with.server.stop();
  with.server.start();
  REQUIRE_WITHIN(10s, connection.connected() && connection.generation() == 1);  // logs in once more
}

TEST_CASE("credentials of an account that the server does not know are refused, with the file alone") {
  OperatorServer with;
  ConnectionOptions bare;
  bare.urls = {with.server.url()};
  CHECK_THAT(refusal(bare), ContainsSubstring("no login"));
  const auto strange = NatsOperator{}.credentials();
  with.check_refused(refusal(with.options(strange)), strange);
}

TEST_CASE("credentials that have expired are refused, with the file alone") {
  OperatorServer with;
  const auto expired = with.authority.credentials(std::chrono::system_clock::now() - 60s);
  with.check_refused(refusal(with.options(expired)), expired);
}

TEST_CASE("credentials that expire while a connection is used end it for good, with the file alone") {
  OperatorServer with;
  const auto brief = with.authority.credentials(std::chrono::system_clock::now() + 2s);
  Connection connection{with.options(brief), std::stop_token{}};
  with.check_refused(end_of(connection), brief);
}

TEST_CASE("a credentials file that is missing or holds none is an error with its name, not waited for") {
  OperatorServer with;
  const auto told = [](const ConnectionOptions& options) {
    return error_of<SettingError>([&] { Connection connection{options, std::stop_token{}}; });
  };
  const auto whole = with.authority.credentials();
  const auto options = with.options("seed only" + whole.substr(whole.find("-----BEGIN USER NKEY")));
  with.check_refused(told(options), whole);
  with.check_refused(told(with.options(whole.substr(0, whole.find("-----BEGIN USER NKEY")))), whole);
  auto missing = options;
  missing.credentials_file = "/nowhere/user.creds";
  CHECK_THAT(told(missing), ContainsSubstring("credentials file /nowhere/user.creds"));
}
