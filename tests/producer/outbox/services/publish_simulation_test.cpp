// Order and completeness of what a scheduler sends, whatever fails around it.

#include "support/publish_simulation.hpp"

#include "support/catch.hpp"

using tidings::test::Simulation;

TEST_CASE("without failures and hot aggregates the whole outbox goes out in commit order") {
  Simulation simulation{1, 50, 500, 0, {}};
  REQUIRE(simulation.run());
  simulation.check_order();
  CHECK(simulation.in_commit_order());
}

TEST_CASE("whatever fails, each aggregate keeps its order and every event is stored or dead") {
  const auto seed = GENERATE(range(0U, 60U));
  const auto aggregates = GENERATE(1, 5, 400);
  const Simulation::Failures failures{.refused = 0.03 * (seed % 3),
                                      .transient = 0.05 * (seed % 4),
                                      .lost_ack = 0.05 * (seed % 2),
                                      .late = seed % 3 == 0 ? 0.05 : 0,
                                      .takeover = seed % 3 == 1 ? 0.05 : 0,
                                      .batches = GENERATE(false, true),
                                      .poison = seed % 7 == 3};
  Simulation simulation{seed, 16 + seed, 400, aggregates, failures};
  INFO("seed " << seed << " aggregates " << aggregates << " batches " << failures.batches);
  REQUIRE(simulation.run());
  simulation.check_order();
  CHECK(simulation.most_in_memory() <= 16 + seed);
  if (aggregates == 1) CHECK((simulation.batches() > 0) == failures.batches);
  if (failures.poison) CHECK(simulation.dead() >= 400 / 17);
}

TEST_CASE("a type that may not be published for a while costs no order, and goes in no batch meanwhile") {
  const auto aggregates = GENERATE(1, 5, 400);
  const auto no_stream = GENERATE(0.0, 0.05);
  const bool batches = GENERATE(false, true);
  int beside_suspects = 0, trials = 0;
  for (unsigned seed = 0; seed < 30; ++seed) {
    INFO("seed " << seed << " aggregates " << aggregates << " no_stream " << no_stream << " batches "
                 << batches);
    Simulation simulation{seed,
                          16 + seed * 4,
                          400,
                          aggregates,
                          {.transient = seed % 3 == 0 ? 0.05 : 0,
                           .lost_ack = seed % 2 == 0 ? 0.05 : 0,
                           .late = seed % 5 == 0 ? 0.05 : 0,
                           .takeover = seed % 7 == 0 ? 0.05 : 0,
                           .batches = batches,
                           .narrow = true,
                           .no_stream = no_stream}};
    REQUIRE(simulation.run());
    simulation.check_order();
    beside_suspects += simulation.batches_beside_suspects();
    trials += simulation.trials();
  }
  if (aggregates > 1) CHECK(trials > 0);
  if (aggregates == 5 && no_stream == 0) CHECK((beside_suspects > 0) == batches);
}
