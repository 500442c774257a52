#include "support/sqlite.hpp"

#include "support/catch.hpp"
#include "support/temp_dir.hpp"

#include <stdexcept>

using namespace tidings::test;

TEST_CASE("a database file is filled and looked into") {
  const TempDir folder;
  const auto file = folder / "a.db";
  sqlite::execute(file, "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y')");
  CHECK(sqlite::number(file, "SELECT count(*) FROM t") == 2);
  CHECK(sqlite::text(file, "SELECT b FROM t WHERE a = 2") == "y");
  CHECK(sqlite::column(file, "SELECT b FROM t ORDER BY a") == std::vector<std::string>{"x", "y"});
  CHECK_THROWS_AS(sqlite::text(file, "SELECT b FROM t WHERE a = 3"), std::runtime_error);
}

TEST_CASE("looking into a missing database is an error and makes no file") {
  const TempDir folder;
  CHECK_THROWS_AS(sqlite::number(folder / "b.db", "SELECT 1"), std::runtime_error);
  CHECK_FALSE(std::filesystem::exists(folder / "b.db"));
}
