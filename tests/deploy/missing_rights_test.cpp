// Each right that deploy/nats/accounts.conf gives to relay and consumer is needed, and when it is missing
// the program says which.

#include "support/catch.hpp"
#include "support/deployed_flow.hpp"
#include "support/deployed_nats.hpp"
#include "support/nats_server.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <regex>
#include <string>
#include <utility>
#include <vector>

using namespace tidings::test;

namespace {

/// The part of accounts.conf that is about one user.
struct Block {
  std::size_t begin, end;
};
Block block_of(const std::string& accounts, const std::string& user) {
  const auto begin = accounts.find("user: " + user + ",");
  REQUIRE(begin != std::string::npos);
  return {begin, accounts.find("\n      }", begin)};
}

/// The subjects in the user's lists, in order.
std::vector<std::string> rights(const std::string& accounts, const std::string& user) {
  const auto block = block_of(accounts, user);
  std::vector<std::string> found;
  const std::regex quoted{"\"([^\"]+)\""};
  const auto text = accounts.substr(accounts.find('\n', block.begin), block.end - block.begin);
  for (std::sregex_iterator match{text.begin(), text.end(), quoted}, end; match != end; ++match) {
    const auto subject = (*match)[1].str();
    if (accounts.find('"' + subject + '"', block.begin) < block.end) found.push_back(subject);
  }
  return found;
}

std::string without(std::string accounts, const std::string& user, const std::string& right) {
  const auto quoted = '"' + right + '"';
  const auto at = accounts.find(quoted, block_of(accounts, user).begin);
  return accounts.replace(at, quoted.size(), "\"nothing\"");
}

/// What the server names when it refuses something under the right.
std::string named(std::string right) {
  if (right.ends_with(">")) right.pop_back();
  return "to \"" + right;
}

/// Starts relay and consumer with what makes them use all their rights.
void check_told(const std::string& user, const std::string& right) {
  INFO(user << " without " << right);
  NatsServer server{{.config = without(accounts_with_passwords(), user, right),
                     .arguments = {},
                     .jetstream = true,
                     .monitoring = false}};
  DeployedFlow flow{server.url()};
  flow.register_users(3);
  flow.register_nonsense(1);
  // Without a stream the consumer would not get as far as to its own rights, and the relay makes it.
  auto relay = flow.start_relay();
  if (user != "relay") REQUIRE_WITHIN(20s, flow.published() == 4);
  auto consumer = flow.start_consumer();
  auto& affected = user == "relay" ? relay : consumer;
  const bool told = eventually(20s, [&] {
    const auto log = affected.err();
    const auto line = log.find("nats refuses login=\"user " + user);
    return line != std::string::npos && log.find(named(right), line) != std::string::npos;
  });
  INFO("it says:\n" << affected.err());
  CHECK(told);
  CHECK(affected.running());  // a right that is granted later is enough
}

}  // namespace

TEST_CASE("a relay without one of its rights says which") {
  const auto all = rights(accounts_with_passwords(), "relay");
  REQUIRE(all.size() == 5);
  for (const auto& right : all) check_told("relay", right);
}

TEST_CASE("a consumer without one of its rights says which") {
  const auto all = rights(accounts_with_passwords(), "welcome-mailer");
  REQUIRE(all.size() == 11);
  for (const auto& right : all) {
    if (right == "$JS.ACK.*.*.AUTH_EVENTS.welcome-mailer.>") continue;  // of newer servers
    check_told("welcome-mailer", right);
  }
}

TEST_CASE(
    "a relay that waits for a right names it in the reason that it gives, and goes on when it is given") {
  const TempDir store;
  const auto whole =
      accounts_with_passwords() + "\njetstream { store_dir: \"" + store.path().string() + "\" }\n";
  NatsServer server{{.config = without(whole, "relay", "auth.events.>"),
                     .arguments = {},
                     .jetstream = false,
                     .monitoring = false}};
  DeployedFlow flow{server.url()};
  flow.register_users(3);
  auto relay = flow.start_relay();
  REQUIRE_WITHIN(20s, flow.trouble().find("\"auth.events.user.created\"") != std::string::npos);
  CHECK(sqlite::number(flow.auth_db(), "SELECT sum(retryCount) FROM outbox_event") == 0);
  server.reload(whole);
  REQUIRE_WITHIN(20s, flow.published() == 3);
}

TEST_CASE("once all is made, the rights of the first start may be taken away") {
  const TempDir store;
  auto accounts =
      accounts_with_passwords() + "\njetstream { store_dir: \"" + store.path().string() + "\" }\n";
  NatsServer server{{.config = accounts, .arguments = {}, .jetstream = false, .monitoring = false}};
  DeployedFlow flow{server.url()};
  const auto run_to_end = [&flow](const std::string& host) {
    flow.register_users(3, host);
    auto relay = flow.start_relay({"relay", "--drain"});
    CHECK(relay.wait() == exited(0));
    auto consumer = flow.start_consumer({"--exit-when-idle", "1000"});
    CHECK(consumer.wait() == exited(0));
    return relay.err() + consumer.err();
  };
  CHECK(run_to_end("example.org").find("made group=") != std::string::npos);

  for (const auto& [user, right] :
       {std::pair{"relay", "$JS.API.STREAM.CREATE.AUTH_EVENTS"},
        {"welcome-mailer", "$JS.API.STREAM.CREATE.AUTH_DLQ"},
        {"welcome-mailer", "$JS.API.CONSUMER.DURABLE.CREATE.AUTH_EVENTS.welcome-mailer"}})
    accounts = without(accounts, user, right);
  server.reload(accounts);
  REQUIRE_WITHIN(20s, server.log().find("Reloaded server configuration") != std::string::npos);
  CHECK(run_to_end("example.com").find("nats refuses") == std::string::npos);
  CHECK(flow.emails() == 6);
}
