#include "support/newer_nats.hpp"

#include "support/catch.hpp"

#include <unistd.h>

#include <cstdlib>

namespace tidings::test {

std::optional<std::string> newer_nats() {
  const char* const named = std::getenv("TIDINGS_NEWER_NATS_SERVER");
  const std::string path = named != nullptr ? named : TIDINGS_NEWER_NATS;
  if (::access(path.c_str(), X_OK) == 0) return path;
  const std::string missing = "there is no newer nats-server: run scripts/newer-nats";
  if (std::getenv("TIDINGS_CI") != nullptr) FAIL(missing);
  WARN("not tested: " << missing);
  return std::nullopt;
}

}  // namespace tidings::test
