// Rows whose status the model does not have, as other programs leave them: nobody publishes them, so
// operators must see them.

#include "support/catch.hpp"
#include "support/outbox_scene.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

/// An id for each status; PostgreSQL has those that its type was given.
Ids add_unknown(Scene& scene) {
  if (scene.engine == Engine::postgres) {
    scene.outbox.execute("ALTER TYPE OutboxEventStatus ADD VALUE 'ARCHIVED' BEFORE 'PENDING'");
    scene.outbox.execute("ALTER TYPE OutboxEventStatus ADD VALUE 'pending'");
    scene.add_changed("archived", "status = 'ARCHIVED'");
    scene.add_changed("lower case", "status = 'pending'");
    return {"archived", "lower case"};
  }
  Ids ids;
  for (const std::string status : {"''", "'pending'", "'DEAD'", "'E'", "'GONE'", "'PENDING '",
                                   "'PROCESSINGS'", "'Published'", "'zzz'", "7", "CAST('PENDING' AS BLOB)"}) {
    ids.push_back("has " + std::to_string(ids.size() + 10));
    scene.add_changed(ids.back(), "status = " + status);
  }
  return ids;
}

Ids ids(const std::vector<OutboxRow>& rows) {
  Ids all;
  for (const auto& row : rows) all.push_back(row.event.id);
  std::ranges::sort(all);
  return all;
}

}  // namespace

TEST_CASE("rows of a status that the model does not have are counted, listed and left alone", "[engines]") {
  Scene scene{engine_under_test()};
  CHECK(scene.repository.list_unknown_status(10).empty());
  for (const auto* name : row_status_names) scene.add_changed(name, "status = '" + std::string{name} + "'");
  const auto unknown = add_unknown(scene);
  const auto stats = scene.repository.stats();
  CHECK(stats.unknown_status == static_cast<std::int64_t>(unknown.size()));
  CHECK(stats.pending == 1);
  CHECK(stats.dead_letter == 1);
  CHECK(ids(scene.repository.list_unknown_status(100)) == unknown);
  CHECK(scene.repository.list_unknown_status(1).size() == 1);
  CHECK(scene.repository.list({}, 100).size() == unknown.size() + row_status_names.size());
  CHECK(scene.pending() == Ids{"PENDING"});
  CHECK(scene.repository.find(unknown.front())->status == scene.value(unknown.front(), "status"));
}
