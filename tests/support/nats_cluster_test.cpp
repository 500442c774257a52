#include "support/nats_cluster.hpp"

#include "support/wait.hpp"

using namespace tidings::test;

TEST_CASE("a cluster has a leader for its stream, another when that is killed, and all three again later") {
  NatsCluster cluster;
  cluster.client().add_stream("ORDERS", {"orders.>"}, {{"num_replicas", 3}});
  const auto first = cluster.new_leader("ORDERS", NatsCluster::none);
  cluster.client().publish("orders.made", "1");
  cluster.wait_for_replicas("ORDERS");

  cluster.kill(first);
  CHECK(cluster.new_leader("ORDERS", first) != first);
  CHECK(cluster.client().message_count("ORDERS") == 1);
  cluster.start();
  cluster.wait_for_replicas("ORDERS");
}
