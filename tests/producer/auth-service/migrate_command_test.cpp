#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

using namespace tidings::test;
namespace fs = std::filesystem;

TEST_CASE("a database that a command makes is for its user alone, for it will hold e-mail addresses") {
  const auto arguments =
      GENERATE(values<std::vector<std::string>>({{"migrate"}, {"migrate", "--outbox-only"}}));
  const TempDir folder;
  const auto file = folder / "auth.db";
  const ProcessOptions options{.environment = {{"DATABASE_URL", "sqlite:" + file.string()}}};
  const auto before = ::umask(0022);
  const auto migrated = run(executable("auth-service"), arguments, options);
  ::umask(before);
  REQUIRE(migrated.exit == exited(0));
  constexpr auto owner = fs::perms::owner_read | fs::perms::owner_write;
  CHECK(fs::status(file).permissions() == owner);

  // What its owner has made of it since is kept.
  fs::permissions(file, owner | fs::perms::group_read);
  REQUIRE(run(executable("auth-service"), arguments, options).exit == exited(0));
  CHECK(fs::status(file).permissions() == (owner | fs::perms::group_read));
}
