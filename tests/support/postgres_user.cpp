#include "support/postgres_user.hpp"

#include <pwd.h>
#include <unistd.h>

#include <stdexcept>

namespace tidings::test {

std::pair<std::filesystem::path, std::vector<std::string>> as_postgres_user(
    const std::filesystem::path& program, std::vector<std::string> arguments) {
  if (geteuid() != 0) return {program, std::move(arguments)};
  arguments.insert(arguments.begin(), {"--reuid=postgres", "--regid=postgres", "--clear-groups", program});
  return {"setpriv", std::move(arguments)};
}

void give_to_postgres_user(const std::filesystem::path& folder) {
  if (geteuid() != 0) return;
  const auto* user = getpwnam("postgres");
  if (user == nullptr || chown(folder.c_str(), user->pw_uid, user->pw_gid) != 0)
    throw std::runtime_error("cannot give " + folder.string() + " to the user postgres");
}

}  // namespace tidings::test
