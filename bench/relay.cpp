// What the outbox processor reaches, against raw nats.c publishing on the same
// server, stream, payload and headers in the same run. See scripts/bench.

#include "auth_service.hpp"
#include "figures.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"
#include "nats/handle.hpp"
#include "resident.hpp"
#include "sample_events.hpp"
#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "user.hpp"

#include <tidings/event.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/stream.hpp>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::bench;
using std::chrono::steady_clock;
using tidings::test::NatsServer;
using tidings::test::TempDir;

namespace {

struct Sizes {
  int events = 200000;
  int retained = 2000000;
  int deleted = 1000000;
  int backlog = 1000000;
  int registered = 2000;
  int wakes = 2000;
  int repeats = 3;
};

/// An outbox file, filled in one commit.
class Outbox {
 public:
  Outbox() : database_(path(), Database::Open::create) { AuthService::migrate(database_); }

  [[nodiscard]] std::string path() const { return (folder_ / "auth.db").string(); }
  [[nodiscard]] std::string url() const { return "sqlite:" + path(); }

  void fill(int events, int aggregates) {
    const auto outbox = database_.outbox();
    database_.transact([&](Transaction& transaction) {
      for (int i = 0; i < events; ++i) outbox->add(transaction, UserCreatedEvent{some_user(i % aggregates)});
    });
    settle();
  }

  /// Rows as they are `age` days after they were published.
  void fill_published(int rows, int age) {
    const auto day = to_iso8601(now() - std::chrono::days{age});
    database_.handle().exec(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(rows) +
        ") INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
        "processedAt, "
        "publishedAt, status, createdAt, updatedAt) SELECT printf('0199%08x-%d', i, abs(random() % 1000)), "
        "'old-' || i, "
        "'User', 'user.created', '{\"data\":{\"userId\":\"old\",\"email\":\"old@example.org\",\"name\":\"Old "
        "Example\","
        "\"emailVerified\":false,\"createdAt\":\"2026-01-01T00:00:00.000Z\"},\"metadata\":{\"source\":\"auth-"
        "service\"}}', '" +
        day + "', '" + day + "', '" + day + "', 'PUBLISHED', '" + day + "', '" + day + "' FROM n");
    settle();
  }

  SqliteDatabase& database() noexcept { return database_; }

 private:
  /// What was filled in is on the disk before anything is measured.
  void settle() { database_.handle().execAndGet("PRAGMA wal_checkpoint(TRUNCATE)"); }

  TempDir folder_;
  SqliteDatabase database_;
};

/// Seconds until a draining processor has published and marked everything.
double drain(const Outbox& outbox, const std::string& url,
             std::chrono::microseconds* longest_cleanup = nullptr) {
  OutboxProcessorOptions options;
  options.drain = true;
  Connection connection{ConnectionOptions{.urls = {url}}};
  OutboxProcessor processor{outbox.url(), connection, options};
  const double took = seconds([&] { processor.run(std::stop_source{}.get_token()); });
  if (longest_cleanup != nullptr)
    *longest_cleanup = std::max(*longest_cleanup, processor.status().longest_cleanup);
  return took;
}

/// (a) The events that the relay would send, built beforehand; events a second.
double raw_publish(const std::string& url, int events) {
  const auto messages = sample_messages(events);
  purge(url);
  return events / publish_raw(url, messages);
}

double relay(const std::string& url, int events, int aggregates) {
  Outbox outbox;
  outbox.fill(events, aggregates);
  purge(url);
  return events / drain(outbox, url);
}

/// (e) and (f): the same with published rows in the table, that cleanup keeps or deletes.
double relay_beside(const std::string& url, int events, int rows, int age_in_days,
                    std::chrono::microseconds* longest_cleanup = nullptr) {
  Outbox outbox;
  outbox.fill_published(rows, age_in_days);
  outbox.fill(events, events);
  purge(url);
  return events / drain(outbox, url, longest_cleanup);
}

/// (g) Another process commits 200 events a second; milliseconds from the return of its commit to the
/// PubAck. The processor's counter is watched every 20 µs.
std::vector<double> wake(const std::string& url, int events) {
  Outbox outbox;
  std::array<int, 2> pipe_ends{};
  if (pipe(pipe_ends.data()) != 0) throw Error("cannot make a pipe");
  std::cout.flush();
  const pid_t writer = fork();
  if (writer == 0) {
    close(pipe_ends[0]);
    SqliteDatabase database{outbox.path()};
    const auto repository = database.outbox();
    char go = 0;
    if (read(STDIN_FILENO, &go, 0) < 0) _exit(1);
    auto next = steady_clock::now() + std::chrono::milliseconds{500};
    for (int i = 0; i < events; ++i, next += std::chrono::milliseconds{5}) {
      std::this_thread::sleep_until(next);
      const UserCreatedEvent event{some_user(i)};
      database.transact([&](Transaction& transaction) { repository->add(transaction, event); });
      const auto committed = steady_clock::now().time_since_epoch().count();
      if (write(pipe_ends[1], &committed, sizeof committed) != sizeof committed) _exit(1);
    }
    _exit(0);
  }
  close(pipe_ends[1]);
  purge(url);
  Connection connection{ConnectionOptions{.urls = {url}}};
  OutboxProcessor processor{outbox.url(), connection};
  std::stop_source stop;
  std::thread working{[&] { processor.run(stop.get_token()); }};
  std::vector<steady_clock::rep> confirmed;
  while (static_cast<int>(confirmed.size()) < events) {
    const auto seen = processor.status().published;
    while (confirmed.size() < seen) confirmed.push_back(steady_clock::now().time_since_epoch().count());
    std::this_thread::sleep_for(std::chrono::microseconds{20});
  }
  stop.request_stop();
  working.join();
  std::vector<double> latencies;
  for (const auto at : confirmed) {
    steady_clock::rep committed = 0;
    if (read(pipe_ends[0], &committed, sizeof committed) != sizeof committed)
      throw Error("the writer failed");
    latencies.push_back(static_cast<double>(at - committed) / 1e6);
  }
  close(pipe_ends[0]);
  waitpid(writer, nullptr, 0);
  return latencies;
}

/// What (g) cannot be below: milliseconds of a synchronous publish, at the same pace.
std::vector<double> publish_round_trips(const std::string& url, int events) {
  Connection connection{ConnectionOptions{.urls = {url}}};
  std::vector<double> latencies;
  const std::string payload(160, 'x');
  for (int i = 0; i < events; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
    jsPubAck* raw = nullptr;
    latencies.push_back(seconds([&] {
                          check(
                              js_Publish(&raw, jetstream(connection), "auth.events.user.created",
                                         payload.data(), static_cast<int>(payload.size()), nullptr, nullptr),
                              "publish");
                        }) *
                        1000);
    const PubAckPtr ack{raw};
  }
  return latencies;
}

/// (h) Users a second, one commit each; with and without their event.
double registering(int users, bool with_event) {
  Outbox outbox;
  AuthService service{outbox.database()};
  UserRepository repository{outbox.database()};
  return users / seconds([&] {
           for (int i = 0; i < users; ++i) {
             const auto user = some_user(i);
             if (with_event) {
               service.register_user({.email = user.email, .name = user.name});
             } else {
               outbox.database().transact([&](Transaction& transaction) {
                 if (!repository.insert(transaction, user)) throw Error("user exists");
               });
             }
           }
         });
}

/// (i) The largest resident size, in MiB, of a relay process that drains a backlog.
double resident(const std::string& url, int backlog) {
  Outbox outbox;
  outbox.fill(backlog, backlog);
  purge(url);
  test::Process process{test::executable("tidings"),
                        {"relay", "--drain"},
                        {.environment = {{"DATABASE_URL", "sqlite:" + outbox.path()}, {"NATS_URL", url}},
                         .input = {},
                         .log_folder = {}}};
  return largest_resident(process);
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures{"relay"};
  bool quick = false;
  CLI::App app{"Measures the outbox processor against raw publishing.", "bench-relay"};
  app.add_flag("--quick", quick, "a tenth of the rows");
  figures.add_flags(app);
  CLI11_PARSE(app, argc, argv);
  Sizes sizes;
  if (quick) sizes = {20000, 200000, 100000, 100000, 300, 300, 3};

  spdlog::set_level(spdlog::level::warn);
  try {
    NatsServer server;
    const auto url = server.url();
    {
      Connection connection{ConnectionOptions{.urls = {url}}};
      ensure_stream(connection, {});
    }
    std::chrono::microseconds longest_cleanup{0};
    figures.in_turn({{"raw_publish_per_s", "(a) raw js_PublishMsgAsync, events/s",
                      [&] { return raw_publish(url, sizes.events); }},
                     {"relay_per_s", "(b) relay, all aggregates differ, events/s",
                      [&] { return relay(url, sizes.events, sizes.events); }},
                     {"relay_1k_aggregates_per_s", "(c) relay, 1,000 aggregates, events/s",
                      [&] { return relay(url, sizes.events, 1000); }},
                     {"relay_hot_aggregate_per_s", "(d) relay, one aggregate, events/s",
                      [&] { return relay(url, sizes.events / 10, 1); }},
                     {"relay_retained_per_s", "(e) relay beside retained rows, events/s",
                      [&] { return relay_beside(url, sizes.events, sizes.retained, 1); }},
                     {"relay_during_cleanup_per_s", "(f) relay while cleanup deletes, events/s",
                      [&] { return relay_beside(url, sizes.events, sizes.deleted, 30, &longest_cleanup); }}},
                    sizes.repeats);
    figures.ratio("relay_ratio", "(b)/(a)", "relay_per_s", "raw_publish_per_s");
    figures.ratio("relay_1k_ratio", "(c)/(b)", "relay_1k_aggregates_per_s", "relay_per_s");
    figures.ratio("relay_hot_ratio", "(d)/(a)", "relay_hot_aggregate_per_s", "raw_publish_per_s");
    figures.ratio("relay_retained_ratio", "(e)/(b)", "relay_retained_per_s", "relay_per_s");
    figures.ratio("relay_during_cleanup_ratio", "(f)/(b)", "relay_during_cleanup_per_s", "relay_per_s");
    if (longest_cleanup.count() > 0)
      figures.set("cleanup_longest_ms", "    a step of cleanup, the longest, ms",
                  static_cast<double>(longest_cleanup.count()) / 1000);
    if (figures.wanted("wake_p50_ms")) {
      std::vector<double> latencies, round_trips;
      for (int i = 0; i < sizes.repeats; ++i) {
        const auto some = wake(url, sizes.wakes);
        latencies.insert(latencies.end(), some.begin(), some.end());
        const auto least = publish_round_trips(url, sizes.wakes);
        round_trips.insert(round_trips.end(), least.begin(), least.end());
      }
      figures.set("wake_p50_ms", "(g) commit to PubAck, other process, p50 ms", percentile(latencies, 0.5));
      figures.set("wake_p99_ms", "    p99 ms", percentile(latencies, 0.99));
      figures.set("wake_max_ms", "    max ms", percentile(latencies, 1));
      figures.set("publish_p50_ms", "    of this, one synchronous publish: p50 ms",
                  percentile(round_trips, 0.5));
      figures.set("publish_p99_ms", "    p99 ms", percentile(round_trips, 0.99));
    }
    figures.in_turn(
        {{"register_plain_per_s", "(h) users/s without event",
          [&] { return registering(sizes.registered, false); }},
         {"register_per_s", "    users/s with event", [&] { return registering(sizes.registered, true); }}},
        sizes.repeats);
    figures.ratio("register_ratio", "    with/without", "register_per_s", "register_plain_per_s");
    figures.in_turn(
        {{"relay_rss_mib", "(i) resident at a backlog, MiB", [&] { return resident(url, sizes.backlog); }}},
        sizes.repeats);
    figures.print();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench-relay: " << error.what() << '\n';
    return 1;
  }
}
