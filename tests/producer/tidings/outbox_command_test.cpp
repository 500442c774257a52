// `tidings outbox list` and `show`.

#include "safe_output.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>

using namespace tidings::test;

namespace {

Finished ask(const Outbox& outbox, const std::vector<std::string>& arguments) {
  auto finished = run(executable("tidings"), arguments, {.environment = {{"DATABASE_URL", outbox.url()}}});
  INFO(finished.err);
  CHECK(finished.exit == exited(0));
  return finished;
}

enum PrismaFolder { no_prisma, prisma_without_file, prisma };

}  // namespace

TEST_CASE("stats and list show rows of a status that the model does not have") {
  Outbox outbox;
  const auto id = outbox.add("user-1");
  outbox.add("user-2");
  outbox.execute("UPDATE outbox_event SET status = 'pending' WHERE id = '" + id + "'");
  CHECK_THAT(ask(outbox, {"outbox", "stats", "--json"}).out, ContainsSubstring(R"("unknownStatus":1)"));
  CHECK_THAT(ask(outbox, {"outbox", "stats"}).out, ContainsSubstring("unknown status      1"));
  const auto listed =
      nlohmann::json::parse(ask(outbox, {"outbox", "list", "--status", "unknown", "--json"}).out);
  CHECK(listed.at("id") == id);
  CHECK(listed.at("status") == "pending");
  CHECK_THAT(ask(outbox, {"outbox", "show", id}).out, ContainsSubstring("pending"));
}

TEST_CASE("looking at another service's database changes nothing in it, not even its journal mode") {
  const TempDir folder;
  const auto path = (folder / "a.db").string();
  tidings::Database::open("sqlite:" + path, tidings::Database::Open::create)->migrate();
  sqlite::execute(
      path,
      "PRAGMA journal_mode=DELETE; INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, "
      "occurredAt, updatedAt) VALUES ('one', 'a', 'User', 't', '{}', '', '')");
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"stats"}, {"list"}, {"show", "one"}}) {
    auto all = arguments;
    all.insert(all.begin(), "outbox");
    const auto finished =
        run(executable("tidings"), all, {.environment = {{"DATABASE_URL", "sqlite:" + path}}});
    INFO(finished.err);
    CHECK(finished.exit == exited(0));
  }
  CHECK(sqlite::text(path, "PRAGMA journal_mode") == "delete");
}

TEST_CASE("a missing file is not to be made a second time beside the one that Prisma made") {
  const TempDir folder;
  const auto there = GENERATE(no_prisma, prisma_without_file, prisma);
  if (there != no_prisma) std::filesystem::create_directory(folder / "prisma");
  if (there == prisma) sqlite::execute(folder / "prisma" / "dev.db", "CREATE TABLE t(a)");
  const auto finished =
      run("env", {"-C", folder.path().string(), executable("tidings").string(), "outbox", "stats"},
          {.environment = {{"DATABASE_URL", "file:./dev.db"}}});
  CHECK(finished.exit == exited(1));
  CHECK_THAT(finished.err, ContainsSubstring("no such file in " + folder.path().string()));
  const auto says = [&finished](const char* text) { return finished.err.find(text) != std::string::npos; };
  CHECK(says("Prisma's paths begin beside its schema") == (there != no_prisma));
  CHECK(says("set DATABASE_URL=file:./prisma/dev.db") == (there == prisma));
  CHECK(says("'tidings outbox init --create'") == (there != prisma));
  CHECK_FALSE(std::filesystem::exists(folder / "dev.db"));
}

TEST_CASE("values that cannot be read are shown as they are stored") {
  Outbox outbox;
  const auto id = outbox.add("user-1");
  outbox.execute(
      "UPDATE outbox_event SET occurredAt = 'yesterday', updatedAt = 'x', createdAt = 'soon', "
      "eventVersion = 1099511627776");
  const auto shown = nlohmann::json::parse(ask(outbox, {"outbox", "show", id, "--json"}).out);
  CHECK(shown.at("occurredAt") == "yesterday");
  CHECK(shown.at("updatedAt") == "x");
  CHECK(shown.at("eventVersion") == "1099511627776");
  const auto stats = nlohmann::json::parse(ask(outbox, {"outbox", "stats", "--json"}).out);
  CHECK(stats.at("pending") == 1);
  CHECK(stats.at("oldestPendingMs").is_null());
}

TEST_CASE(
    "what somebody has written into the outbox does not steer the operator's terminal, nor end the program") {
  Outbox outbox;
  const auto id = outbox.add("user-1");
  outbox.execute("UPDATE outbox_event SET lastError = '" + hostile_text + "', aggregateId = '" +
                 hostile_text + "'");
  const auto data = GENERATE(as<std::string>{}, hostile_text, "{\"data\": {\"name\": \"\xc2\x9b\"}}",
                             std::string(200000, '[') + std::string(200000, ']'));
  outbox.execute("UPDATE outbox_event SET eventData = '" + data + "'");
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"outbox", "list"},
                                                                     {"outbox", "list", "--json"},
                                                                     {"outbox", "show", id},
                                                                     {"outbox", "show", id, "--json"}}) {
    const auto finished =
        run(executable("tidings"), arguments, {.environment = {{"DATABASE_URL", outbox.url()}}});
    CAPTURE(arguments, finished.err);
    CHECK(finished.exit == exited(0));
    CHECK(is_safe(finished.out));
    CHECK(is_safe(finished.err));
  }
}
