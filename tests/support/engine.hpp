#pragma once

// Tests of what holds on SQLite and on PostgreSQL are compiled once and registered twice in ctest; the
// environment says which database a run is about.

namespace tidings::test {

enum class Engine { sqlite, postgres };
const char* to_string(Engine engine);

/// TIDINGS_TEST_ENGINE: "sqlite", also when it is not set, or "postgres".
[[nodiscard]] Engine engine_under_test();

}  // namespace tidings::test
