#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

/// The auth service with an empty database, and the input for it: the second of three lines is refused.
struct Users {
  Users() { REQUIRE(run(executable("auth-service"), {"migrate"}, options()).exit == exited(0)); }
  [[nodiscard]] ProcessOptions options() const {
    return {.environment = {{"DATABASE_URL", "sqlite:" + (folder / "auth.db").string()}}, .input = lines};
  }

  TempDir folder;
  const std::string lines =
      "{\"email\": \"ann@example.org\", \"name\": \"Ann\"}\n"
      "{\"email\": \"nobody\", \"name\": \"Bob\"}\n"
      "{\"email\": \"cid@example.org\", \"name\": \"Cid\"}\n";
};

}  // namespace

TEST_CASE("a line that cannot be registered is named, and the rest goes on") {
  const Users users;
  const auto done = run(executable("auth-service"), {"register", "--from", "-"}, users.options());
  CHECK(done.exit == exited(1));
  CHECK(done.err.starts_with("line 2: email"));
  CHECK(done.err.find('\r') == std::string::npos);
  CHECK(done.out.starts_with("registered 2, refused 1 in "));
}

TEST_CASE("no kind of line that cannot be registered holds up those behind it, whatever shares its commit") {
  const auto batch = GENERATE("1", "100");
  CAPTURE(batch);
  const Users users;
  auto options = users.options();
  options.input =
      "{\"email\": \"ann@example.org\", \"name\": \"Ann\"}\n"
      "{\"email\": \n"
      "{\"email\": \"bob@example.org\"}\n"
      "[]\n"
      "{\"email\": \"ann@example.org\", \"name\": \"Another\"}\n" +
      std::string(65537, 'x') +
      "\n"
      "\n"
      "{\"email\": \"cid@example.org\", \"name\": \"Cid\"}";
  const auto done = run(executable("auth-service"), {"register", "--from", "-", "--batch", batch}, options);
  CHECK(done.exit == exited(1));
  for (const auto* told : {"line 2: not JSON", "line 3: name: is missing", "line 4: not a JSON object",
                           "line 5: email: is already registered", "line 6: longer than 65536 bytes"})
    CHECK_THAT(done.err, ContainsSubstring(told));
  CHECK(done.out.starts_with("registered 2, refused 5 in "));
}

TEST_CASE("progress is shown on a terminal, and gives way to errors and the summary") {
  const Users users;
  const auto command = executable("auth-service").string() + " register --from -";
  const auto done =
      run("script", {"--quiet", "--return", "--echo", "never", "--command", command, "/dev/null"},
          users.options());
  CHECK(done.exit == exited(1));
  INFO(done.out);
  CHECK(done.out.find("\r1 registered\r\033[Kline 2: email") != std::string::npos);
  CHECK(done.out.find("\r2 registered\r\033[Kregistered 2, refused 1 in ") != std::string::npos);
}
