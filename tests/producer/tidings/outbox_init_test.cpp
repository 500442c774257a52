// `tidings outbox init`: an outbox in the database of a service that has none.

#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <filesystem>

using namespace tidings;
using namespace tidings::test;

namespace {

Finished init(const std::string& url, const std::vector<std::string>& flags = {}) {
  std::vector<std::string> arguments{"outbox", "init"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return run(executable("tidings"), arguments, {.environment = {{"DATABASE_URL", url}}});
}

}  // namespace

TEST_CASE("an outbox is made beside the tables of a service, and making it again keeps what is there") {
  const TempDir folder;
  const auto file = folder / "shop.db";
  sqlite::execute(file, "CREATE TABLE shop_order(id TEXT); INSERT INTO shop_order VALUES ('o-1')");
  const auto made = init("sqlite:" + file.string());
  CHECK(made.err == "");
  CHECK(made.exit == exited(0));
  CHECK_THAT(made.out, ContainsSubstring(file.string() + ": the outbox's tables are ready"));
  const auto tables =
      sqlite::column(file, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name");
  CHECK(tables == std::vector<std::string>{"outbox_event", "outbox_lease", "outbox_state", "shop_order"});

  const auto database = Database::open("sqlite:" + file.string());
  const auto outbox = database->outbox();
  database->transact([&](Transaction& transaction) { outbox->add(transaction, DomainEvent{}); });
  CHECK(init("sqlite:" + file.string()).exit == exited(0));
  CHECK(outbox->count_pending() == 1);
  CHECK(sqlite::number(file, "SELECT count(*) FROM shop_order") == 1);
}

TEST_CASE("a file that is not there is not made by mistake") {
  const TempDir folder;
  const auto file = folder / "dev.db";
  const auto refused = init("file:" + file.string());
  CHECK(refused.exit == exited(1));
  CHECK_THAT(refused.err, ContainsSubstring(file.string() + ": there is no such file"));
  CHECK_FALSE(std::filesystem::exists(file));
  CHECK(init("file:" + file.string(), {"--create"}).exit == exited(0));
  CHECK(sqlite::number(file, "SELECT count(*) FROM outbox_event") == 0);
}

TEST_CASE("a table of that name that is another's is an error, and not said to be ready") {
  const TempDir folder;
  sqlite::execute(folder / "a.db",
                  "CREATE TABLE outbox_event(id TEXT, status TEXT, \"createdAt\" TEXT, \"aggregateId\" TEXT, "
                  "\"aggregateType\" TEXT)");
  const auto refused = init("sqlite:" + (folder / "a.db").string());
  CHECK(refused.exit == exited(1));
  CHECK_THAT(refused.err, ContainsSubstring("no such column: e.eventType"));
  CHECK(refused.out == "");
}

TEST_CASE("a trigger is for PostgreSQL") {
  const PostgresServer server;
  CHECK(init(server.url(), {"--notify-trigger"}).exit == exited(0));
  CHECK(init(server.url(), {"--notify-trigger"}).exit == exited(0));
  const auto database = Database::open(server.url());
  CHECK(database->exec("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal").text(0, 0) ==
        "tidings_outbox_wake");
  const TempDir folder;
  const auto refused = init("sqlite:" + (folder / "a.db").string(), {"--create", "--notify-trigger"});
  CHECK(refused.exit == exited(2));
  CHECK_THAT(refused.err, ContainsSubstring("SQLite needs no trigger"));
}
