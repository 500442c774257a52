// Relay and consumer at a server that knows its users by tokens which an account has signed.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/nats_operator.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"

#include <fstream>
#include <string>

using namespace tidings::test;

namespace {

struct Signed {
  [[nodiscard]] std::string file(const std::string& name, const std::string& credentials) const {
    const auto path = folder / name;
    std::ofstream{path} << credentials;
    return path.string();
  }
  [[nodiscard]] Finished drain(const std::string& credentials_file) const {
    return run(executable("tidings"), {"relay", "--drain"},
               {.environment = {{"NATS_URL", server.url()},
                                {"NATS_CREDS", credentials_file},
                                {"DATABASE_URL", outbox.url()}},
                .input = {},
                .log_folder = {}});
  }
  [[nodiscard]] tidings::ConsumerOptions options(const std::string& credentials_file) const {
    auto made = consumer_of(server.url());
    made.connection.credentials_file = credentials_file;
    return made;
  }

  NatsOperator authority;
  NatsServer server{{.config = authority.config(), .arguments = {}, .jetstream = true, .monitoring = false}};
  TempDir folder;
  Outbox outbox;
};

}  // namespace

TEST_CASE("credentials that an account has signed carry events from relay to consumer") {
  Signed scene;
  scene.outbox.add_many(50, 5);
  const auto file = scene.file("user.creds", scene.authority.credentials());
  const auto relay = scene.drain(file);
  INFO(relay.err);
  REQUIRE(relay.exit == exited(0));
  CHECK(scene.outbox.count_status("PUBLISHED") == 50);
  Instance instance{scene.folder / "inbox.db", scene.options(file)};
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled == 50);
}

TEST_CASE("relay and consumer end with the name of credentials that are refused, and tell nothing of them") {
  Signed scene;
  scene.outbox.add("a");
  const auto strange = NatsOperator{}.credentials();
  const auto file = scene.file("strange.creds", strange);
  const auto relay = scene.drain(file);
  CHECK(relay.exit == exited(1));
  Instance instance{scene.folder / "inbox.db", scene.options(file)};
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  const auto seed = strange.substr(strange.find("\nSU") + 1, 58);
  for (const auto& told : {relay.err, instance.error()}) {
    CHECK_THAT(told, ContainsSubstring("credentials file " + file));
    CHECK_THAT(told, !ContainsSubstring(seed));
    CHECK_THAT(told, !ContainsSubstring("eyJ"));  // how each token begins
  }
  const auto missing = scene.drain("/nowhere/user.creds");
  CHECK(missing.exit == exited(2));
  CHECK_THAT(missing.err, ContainsSubstring("/nowhere/user.creds"));
}
