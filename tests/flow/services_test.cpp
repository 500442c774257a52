// Services that bring their own connection and transaction, and have nothing else of ours than the installed
// library: what they commit goes out through `tidings relay`. TIDINGS_SERVICES names the folder of such
// builds (.ci/run); else those of this build are taken.

#include "support/catch.hpp"
#include "support/engine.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/postgres_server.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <optional>

using namespace tidings::test;

namespace {

std::filesystem::path service(const std::string& name) {
  const char* const folder = std::getenv("TIDINGS_SERVICES");
  return folder == nullptr ? executable(name) : std::filesystem::path{folder} / name;
}

Finished run_tidings(const std::vector<std::string>& arguments, const NatsServer& server,
                     const std::string& database) {
  return run(executable("tidings"), arguments,
             {.environment = {{"NATS_URL", server.url()},
                              {"DATABASE_URL", database},
                              {"OUTBOX_STREAM", "SHOP_EVENTS"},
                              {"OUTBOX_SUBJECT_PREFIX", "shop.events"},
                              {"OUTBOX_SOURCE", "/shop"}}});
}

}  // namespace

TEST_CASE("a service on SQLiteCpp or libpqxx publishes through the relay what it has committed",
          "[engines]") {
  const bool on_sqlite = engine_under_test() == Engine::sqlite;
  const auto program = service(on_sqlite ? "order-service" : "invoice-service");
  const std::string type = on_sqlite ? "order.placed" : "invoice.sent";
  const std::string member = on_sqlite ? "orderId" : "invoiceId";
  const TempDir folder;
  std::optional<PostgresServer> postgres;
  if (!on_sqlite) postgres.emplace();
  const auto place = on_sqlite ? (folder / "shop.db").string() : postgres->url();
  const auto url = on_sqlite ? "sqlite:" + place : place;
  const NatsServer server;

  REQUIRE(run(program, {place}).exit == exited(0));  // makes its own table, in a database of its own
  const auto made = run_tidings({"outbox", "init"}, server, url);
  REQUIRE(made.err == "");
  REQUIRE(made.exit == exited(0));
  const auto ran = run(program, {place, "a=1999", "b=0", "c=5"});
  REQUIRE(ran.exit == exited(0));
  CHECK_THAT(ran.err, ContainsSubstring("b is for nothing"));
  REQUIRE(run_tidings({"relay", "--drain"}, server, url).exit == exited(0));

  JetStream jetstream{server.url()};
  auto published = nlohmann::json::array();
  for (const auto& message : jetstream.messages("SHOP_EVENTS")) {
    CHECK(message.subject == "shop.events." + type);
    CHECK(message.header("ce-source") == "/shop");
    published.push_back({message.header("ce-subject"), nlohmann::json::parse(message.data)});
  }
  CHECK(published == nlohmann::json::array(
                         {{"a", {{member, "a"}, {"cents", 1999}}}, {"c", {{member, "c"}, {"cents", 5}}}}));
}
