#include "support/nats_server.hpp"

#include "support/environment.hpp"
#include "support/jetstream.hpp"
#include "support/wait.hpp"

#include <stdexcept>

using namespace tidings::test;

TEST_CASE("a server that is killed comes back on the same port with its streams") {
  NatsServer server;
  JetStream js{server.url()};
  js.add_stream("ORDERS", {"orders.>"});
  js.publish("orders.made", "1");
  const auto port = server.port();

  server.kill();
  CHECK(greeting(port).empty());
  server.start();
  CHECK(server.port() == port);
  CHECK(js.message_count("ORDERS") == 1);  // through the connection made before

  server.stop();
  CHECK(greeting(port).empty());
  server.start();
  CHECK(JetStream{server.url()}.message_count("ORDERS") == 1);
}

TEST_CASE("a paused server answers nothing until it is resumed") {
  NatsServer server;
  JetStream js{server.url()};
  js.add_stream("ORDERS", {"orders.>"});
  server.pause();
  CHECK(greeting(server.port()).empty());
  server.resume();
  CHECK(js.message_count("ORDERS") == 0);
}

TEST_CASE("a server takes configuration text, and says why it cannot start") {
  const NatsServer server{{.config = "authorization { token: secret }"}};
  CHECK_THROWS_AS(JetStream{server.url()}, std::runtime_error);
  const auto url = "nats://secret@127.0.0.1:" + std::to_string(server.port());
  CHECK_FALSE(JetStream{url}.has_stream("ORDERS"));
  CHECK_THAT(server.log(), ContainsSubstring("Server is ready"));

  CHECK_THAT(error_of<std::runtime_error>([] { NatsServer{{.config = "no_such_field: 1"}}; }),
             ContainsSubstring("server.conf"));
}

TEST_CASE("a server without JetStream, with monitoring") {
  const NatsServer server{{.jetstream = false, .monitoring = true}};
  CHECK_THROWS_AS(JetStream{server.url()}.has_stream("ORDERS"), std::runtime_error);
  CHECK_THAT(server.monitoring_url(), ContainsSubstring("http://127.0.0.1:"));
  CHECK_THAT(server.log(), ContainsSubstring("monitor"));
}

TEST_CASE("TIDINGS_NATS_SERVER chooses the server program") {
  const EnvironmentVariable program{"TIDINGS_NATS_SERVER", "/bin/no-such-server"};
  CHECK_THAT(error_of<std::runtime_error>([] { NatsServer{}; }), ContainsSubstring("/bin/no-such-server"));
}

TEST_CASE("servers that run at the same time have ports and stores of their own") {
  const NatsServer one, two;
  JetStream js{one.url()};
  js.add_stream("ORDERS", {"orders.>"});
  CHECK(one.port() != two.port());
  CHECK_FALSE(JetStream{two.url()}.has_stream("ORDERS"));
}
