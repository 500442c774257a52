#include "support/engine.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace tidings::test {

const char* to_string(Engine engine) { return engine == Engine::sqlite ? "SQLite" : "PostgreSQL"; }

Engine engine_under_test() {
  const char* const value = std::getenv("TIDINGS_TEST_ENGINE");
  const std::string name = value == nullptr ? "sqlite" : value;
  if (name == "sqlite") return Engine::sqlite;
  if (name == "postgres") return Engine::postgres;
  throw std::runtime_error("TIDINGS_TEST_ENGINE=" + name + ": takes sqlite or postgres");
}

}  // namespace tidings::test
