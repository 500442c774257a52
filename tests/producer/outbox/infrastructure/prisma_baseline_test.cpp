// The migration in docs/prisma, which services with Prisma begin with.

#include "support/catch.hpp"
#include "support/outbox.hpp"

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

std::string baseline() {
  std::ifstream file{TIDINGS_SOURCE_DIR "/docs/prisma/migrations/0_tidings/migration.sql"};
  REQUIRE(file);
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// Columns, indexes and keys of a schema's tables.
std::vector<std::string> described(const Outbox& outbox, const std::string& schema) {
  auto all = outbox.column(
      "SELECT concat_ws(' ', table_name, column_name, data_type, udt_name, datetime_precision, "
      "is_nullable, column_default) FROM information_schema.columns WHERE table_schema = '" +
      schema + "' ORDER BY 1");
  for (auto& index : outbox.column("SELECT replace(indexdef, '" + schema +
                                   ".', '') FROM pg_indexes WHERE schemaname = '" + schema + "' ORDER BY 1"))
    all.push_back(std::move(index));
  for (auto& text : all)
    for (auto at = text.find(schema + "."); at != std::string::npos; at = text.find(schema + "."))
      text.erase(at, schema.size() + 1);
  return all;
}

}  // namespace

TEST_CASE(
    "the baseline migration for Prisma makes the tables that our migration makes, and is left alone by it") {
  const Outbox outbox{Engine::postgres};
  PostgresConnection prisma{outbox.url()};
  prisma.connect();
  prisma.script("CREATE SCHEMA prisma; SET search_path = prisma; " + baseline());
  const auto made = described(outbox, "prisma");
  CHECK(made.size() >= 14 + 5 + 7 + 5);
  CHECK(made == described(outbox, "public"));
  Database::open(outbox.url() + "?schema=prisma")->migrate();
  CHECK(described(outbox, "prisma") == made);
}
