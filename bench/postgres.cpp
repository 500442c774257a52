// What relay and consumer reach on PostgreSQL, fsync on, and the relay on a cluster. See scripts/bench.

#include "figures.hpp"
#include "flow.hpp"
#include "mailer.hpp"
#include "sample_events.hpp"
#include "support/nats_cluster.hpp"
#include "support/nats_server.hpp"
#include "support/postgres_server.hpp"

#include <tidings/database.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/postgres_inbox.hpp>
#include <tidings/stream.hpp>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>

using namespace tidings;
using namespace tidings::bench;
using namespace std::chrono_literals;
using tidings::test::NatsCluster;
using tidings::test::NatsServer;
using tidings::test::PostgresServer;

namespace {

struct Sizes {
  int events = 100000;
  int flow = 2000;
  int inserted = 10000;
  int rounds = 3;
};

void run(const PostgresServer& postgres, const std::string& statements) {
  PostgresConnection connection{postgres.url()};
  connection.connect();
  connection.script(statements);
}

/// A new table, that nobody has marked or cleaned in, with `events` rows PENDING, each of its own aggregate
/// or at random of so many. Its statistics are those of a table that is all PUBLISHED, as they mostly are in
/// life.
void fill(const PostgresServer& postgres, int events, int aggregates = 0) {
  const auto aggregate =
      aggregates > 0 ? "(hashint4(i) & 2147483647) % " + std::to_string(aggregates) : std::string{"i"};
  run(postgres,
      "DROP TABLE IF EXISTS outbox_event, outbox_lease, outbox_state; DROP TYPE IF EXISTS "
      "\"OutboxEventStatus\"");
  Database::open(postgres.url())->migrate();
  const auto insert = [&](const std::string& status) {
    run(postgres,
        "INSERT INTO outbox_event(id, \"aggregateId\", \"aggregateType\", \"eventType\", \"eventData\", "
        "\"occurredAt\", \"createdAt\", \"updatedAt\", status) SELECT '01a20c25-' || "
        "to_char(i, 'FM0000-0000') || '-7393-bb51-' || substr(md5(i::text), 1, 12), 'user-' || " +
            aggregate +
            ", 'User', 'user.created', "
            "jsonb_build_object('data', jsonb_build_object('userId', 'user-' || i, 'email', 'user' || i || "
            "'@example.org', 'name', 'Some Example', 'emailVerified', false, 'createdAt', "
            "'2026-01-01T00:00:00.000Z'), 'metadata', jsonb_build_object('source', 'auth-service', 'action', "
            "'user.register')), time, time, time, '" +
            status +
            "'::\"OutboxEventStatus\" FROM (SELECT i, now() AT TIME ZONE 'UTC' + i * interval '1 "
            "millisecond' AS time FROM generate_series(1, " +
            std::to_string(events) + ") AS i) AS numbers");
  };
  insert("PUBLISHED");
  run(postgres, "ANALYZE outbox_event");
  run(postgres, "TRUNCATE outbox_event");  // which keeps them
  insert("PENDING");
  run(postgres, "CHECKPOINT");
}

/// The limit: a loop of statements that mark 2000 rows each; rows a second.
double mark(const PostgresServer& postgres, int events) {
  fill(postgres, events);
  PostgresConnection connection{postgres.url()};
  connection.connect();
  return events / seconds([&] {
           while (connection
                      .exec("UPDATE outbox_event SET status = 'PUBLISHED', \"publishedAt\" = now(), "
                            "\"processedAt\" = now(), \"updatedAt\" = now() WHERE id IN (SELECT id FROM "
                            "outbox_event WHERE status = 'PENDING' ORDER BY \"createdAt\" LIMIT 2000)")
                      .affected() > 0) {
           }
         });
}

/// Events a second that a draining processor publishes and marks, or deletes with a retention of 0.
double relay(const std::vector<std::string>& urls, const PostgresServer& postgres, int events, int retention,
             int replicas = 1, int aggregates = 0) {
  fill(postgres, events, aggregates);
  OutboxProcessorOptions options;
  options.drain = true;
  options.retention = std::chrono::days{retention};
  options.stream_replicas = replicas;
  Connection connection{ConnectionOptions{.urls = urls}};
  OutboxProcessor processor{postgres.url(), connection, options};
  return events / seconds([&] { processor.run(std::stop_source{}.get_token()); });
}

/// Sets a fresh inbox beside a table of the handler's.
std::unique_ptr<PostgresInbox> fresh_inbox(const PostgresServer& postgres) {
  run(postgres,
      "DROP TABLE IF EXISTS welcome_email, inbox, inbox_attempt, inbox_group, inbox_schema CASCADE; "
      "CREATE TABLE welcome_email(user_id text, address text)");
  return std::make_unique<PostgresInbox>(postgres.url());
}

/// Whether the handler leaves its statement to be sent with others' or waits for it.
enum class Writes { queued, awaited };

std::unique_ptr<Consumer<PostgresInbox>> mailer(PostgresInbox& inbox, const std::string& url,
                                                Writes writes = Writes::queued) {
  auto consumer = std::make_unique<Consumer<PostgresInbox>>(inbox, options_for(url));
  consumer->on<UserCreated>("user.created",
                            [writes](const UserCreated& user, PostgresTransaction& tx, const Delivery&) {
                              const std::string insert = "INSERT INTO welcome_email VALUES ($1, $2)";
                              if (writes == Writes::queued)
                                tx.queue(insert, user.userId, user.email);
                              else
                                tx.exec(insert, user.userId, user.email);
                            });
  return consumer;
}

/// Typed handler, one business row, inbox row; events a second.
double consume(const std::string& url, const PostgresServer& postgres, int events, Writes writes) {
  forget_group(url);
  const auto inbox = fresh_inbox(postgres);
  const auto consumer = mailer(*inbox, url, writes);
  return events / seconds([&] {
           std::jthread work{[&](const std::stop_token& stop) { consumer->run(stop); }};
           while (consumer->stats().handled < static_cast<std::uint64_t>(events))
             std::this_thread::sleep_for(1ms);
         });
}

std::vector<double> flow(const std::string& url, const PostgresServer& postgres, int events) {
  fill(postgres, 0);
  return flow_latencies(url, postgres.url(), events, [&](int count, const std::function<void()>& handled) {
    const auto inbox = fresh_inbox(postgres);
    const auto consumer = mailer(*inbox, url);
    handle_with(*consumer, count, handled);
  });
}

/// Commits a second of eight writers, one event each; with `wake`, the trigger is there and a relay waits.
double insert(const std::string& url, const PostgresServer& postgres, int events, bool trigger, bool wake) {
  fill(postgres, 0);
  if (trigger) Database::open(postgres.url())->add_notify_trigger();
  constexpr int writers = 8;
  std::stop_source stop;
  std::thread waiting;
  if (wake)
    waiting = std::thread{[&] {
      Connection connection{ConnectionOptions{.urls = {url}}};
      OutboxProcessorOptions options;
      options.processing_interval = 10ms;  // so that it has the same work without the trigger
      OutboxProcessor{postgres.url(), connection, options}.run(stop.get_token());
    }};
  std::vector<std::unique_ptr<PostgresConnection>> connections;
  for (int i = 0; i < writers; ++i) {
    connections.push_back(std::make_unique<PostgresConnection>(postgres.url()));
    connections.back()->connect();
  }
  if (wake) std::this_thread::sleep_for(300ms);
  std::atomic<int> next{0};
  const double took = seconds([&] {
    std::vector<std::jthread> threads;
    for (auto& connection : connections)
      threads.emplace_back([&next, events, database = connection.get()] {
        for (int i = next++; i < events; i = next++)
          database->exec(
              "INSERT INTO outbox_event(id, \"aggregateId\", \"aggregateType\", \"eventType\", "
              "\"eventData\", "
              "\"occurredAt\", \"updatedAt\") VALUES ($1, $1, 'User', 'user.created', '{\"userId\": \"u\"}', "
              "now(), now())",
              "c" + std::to_string(i));
      });
  });
  stop.request_stop();
  if (waiting.joinable()) waiting.join();
  return events / took;
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures{"postgres"};
  bool quick = false;
  CLI::App app{"Measures relay and consumer on PostgreSQL, and the relay on a cluster.", "bench-postgres"};
  app.add_flag("--quick", quick, "a tenth of the events");
  figures.add_flags(app);
  CLI11_PARSE(app, argc, argv);
  Sizes sizes;
  if (quick) sizes = {.events = 20000, .flow = 400, .inserted = 4000, .rounds = 3};

  spdlog::set_level(spdlog::level::err);
  try {
    NatsServer server;
    const PostgresServer postgres{{}, PostgresServer::Files::on_disk};
    const auto url = server.url();
    {
      Connection connection{ConnectionOptions{.urls = {url}}};
      ensure_stream(connection, {});
    }
    figures.in_turn({{"pg_mark_limit_per_s", "(a) raw bulk mark in SQL, rows/s",
                      [&] { return mark(postgres, sizes.events); }},
                     {"pg_relay_per_s", "(b) relay, events/s",
                      [&] { return purge(url), relay({url}, postgres, sizes.events, 7); }},
                     {"pg_relay_delete_per_s", "(c) relay that deletes at once, events/s",
                      [&] { return purge(url), relay({url}, postgres, sizes.events, 0); }}},
                    sizes.rounds);
    figures.ratio("pg_relay_ratio", "(b)/(a)", "pg_relay_per_s", "pg_mark_limit_per_s");
    figures.ratio("pg_relay_delete_ratio", "(c)/(a)", "pg_relay_delete_per_s", "pg_mark_limit_per_s");

    if (figures.wanted("pg_consume_per_s") || figures.wanted("pg_consume_awaited_per_s")) {
      purge(url);
      (void)publish_raw(url, sample_messages(sizes.events));
    }
    figures.in_turn({{"pg_consume_per_s", "(d) handler, business row, inbox row in PostgreSQL, events/s",
                      [&] { return consume(url, postgres, sizes.events, Writes::queued); }},
                     {"pg_consume_awaited_per_s", "    when the handler waits for its statement",
                      [&] { return consume(url, postgres, sizes.events, Writes::awaited); }}},
                    sizes.rounds);
    if (figures.wanted("pg_flow_p50_ms")) {
      std::vector<double> latencies;
      for (int i = 0; i < sizes.rounds; ++i) {
        const auto some = flow(url, postgres, sizes.flow);
        latencies.insert(latencies.end(), some.begin(), some.end());
      }
      figures.set("pg_flow_p50_ms", "(e) commit to handled through the relay, p50 ms",
                  percentile(latencies, 0.5));
      figures.set("pg_flow_p99_ms", "    p99 ms", percentile(latencies, 0.99));
    }
    figures.in_turn({{"pg_insert_per_s", "(f) commits/s of eight writers",
                      [&] { return insert(url, postgres, sizes.inserted, false, false); }},
                     {"pg_insert_trigger_per_s", "    with the trigger",
                      [&] { return insert(url, postgres, sizes.inserted, true, false); }},
                     {"pg_insert_relay_per_s", "    beside a relay that polls",
                      [&] { return insert(url, postgres, sizes.inserted, false, true); }},
                     {"pg_insert_wake_per_s", "    beside a relay, with the trigger",
                      [&] { return insert(url, postgres, sizes.inserted, true, true); }}},
                    sizes.rounds);
    figures.ratio("pg_insert_trigger_ratio", "    trigger/without, no relay", "pg_insert_trigger_per_s",
                  "pg_insert_per_s");
    figures.ratio("pg_insert_wake_ratio", "    trigger/without, beside a relay", "pg_insert_wake_per_s",
                  "pg_insert_relay_per_s");
    if (figures.wanted("raw_r3_per_s") || figures.wanted("pg_relay_r1_per_s") ||
        figures.wanted("pg_relay_r3_per_s") || figures.wanted("pg_relay_r3_some_per_s") ||
        figures.wanted("pg_relay_r3_hot_per_s")) {
      std::vector<std::unique_ptr<NatsCluster>> clusters;
      const auto new_cluster = [&] {
        clusters.clear();  // a stream of its own, on servers that have seen nothing
        clusters.push_back(std::make_unique<NatsCluster>());
        std::vector<std::string> urls;
        for (std::size_t i = 0; i < NatsCluster::size; ++i) urls.push_back(clusters.back()->server(i).url());
        return urls;
      };
      const auto on_cluster = [&](int replicas, int events, int aggregates = 0) {
        return relay(new_cluster(), postgres, events, 7, replicas, aggregates);
      };
      const auto raw_on_cluster = [&](int events) {
        const auto urls = new_cluster();
        Connection connection{ConnectionOptions{.urls = urls}};
        ensure_stream(connection, {.replicas = 3});
        return events / publish_raw(urls.front(), sample_messages(events));
      };
      figures.in_turn(
          {{"raw_r3_per_s", "(g) raw js_PublishMsgAsync to a cluster, three replicas, events/s",
            [&] { return raw_on_cluster(sizes.events); }},
           {"pg_relay_r1_per_s", "    relay, one replica", [&] { return on_cluster(1, sizes.events); }},
           {"pg_relay_r3_per_s", "    three replicas", [&] { return on_cluster(3, sizes.events); }},
           {"pg_relay_r3_some_per_s", "    three, 50 aggregates",
            [&] { return on_cluster(3, sizes.events / 2, 50); }},
           {"pg_relay_r3_hot_per_s", "    three, one aggregate",
            [&] { return on_cluster(3, sizes.events / 10, 1); }}},
          sizes.rounds);
      figures.ratio("pg_relay_r3_ratio", "    three/one", "pg_relay_r3_per_s", "pg_relay_r1_per_s");
      figures.ratio("pg_relay_r3_raw_ratio", "    three/raw", "pg_relay_r3_per_s", "raw_r3_per_s");
      figures.ratio("pg_relay_r3_hot_ratio", "    three, one aggregate/raw", "pg_relay_r3_hot_per_s",
                    "raw_r3_per_s");
    }
    figures.print();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench-postgres: " << error.what() << '\n';
    return 1;
  }
}
