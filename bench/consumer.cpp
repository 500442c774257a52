// What the consumer engine reaches, against raw nats.c fetching of the same messages
// and against the same handler and commits without a network. See scripts/bench.

#include "consumer/batch_executor.hpp"
#include "figures.hpp"
#include "flow.hpp"
#include "inbox/inbox.hpp"
#include "mailer.hpp"
#include "nats/handle.hpp"
#include "one_of_twenty.hpp"
#include "resident.hpp"
#include "sample_events.hpp"
#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <tidings/consumer.hpp>
#include <tidings/database.hpp>
#include <tidings/stream.hpp>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <memory>
#include <span>
#include <thread>

using namespace tidings;
using namespace tidings::bench;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using tidings::test::NatsServer;
using tidings::test::TempDir;

namespace {

struct Sizes {
  int events = 200000;
  int commit_each = 5000;
  int concurrent = 50000;
  int in_inbox = 5000000;
  int flow = 2000;
  int some_large = 12000;
  int rounds = 3;
};

/// Seconds until the consumers have settled `events` messages among them.
double consume(std::span<Mailer> mailers, int events) {
  std::vector<std::jthread> threads;
  const auto settled = [&] {
    std::uint64_t count = 0;
    for (auto& mailer : mailers) {
      const auto stats = mailer.consumer().stats();
      count += stats.handled + stats.duplicates;
    }
    return count;
  };
  return seconds([&] {
    for (auto& mailer : mailers)
      threads.emplace_back([&mailer](const std::stop_token& stop) { mailer.consumer().run(stop); });
    while (settled() < static_cast<std::uint64_t>(events)) std::this_thread::sleep_for(1ms);
  });
}

/// (a) natsSubscription_Fetch of 500 and an ack for each; messages a second.
double raw_consume(const std::string& url, int events) {
  forget_group(url);
  Connection connection{ConnectionOptions{.urls = {url}}};
  natsSubscription* raw = nullptr;
  jsSubOptions options;
  jsSubOptions_Init(&options);
  options.Stream = "AUTH_EVENTS";
  options.Config.AckPolicy = js_AckExplicit;
  options.Config.MaxAckPending = 100000;
  check(js_PullSubscribe(&raw, jetstream(connection), "auth.events.>", group, nullptr, &options, nullptr),
        "subscribe");
  const std::unique_ptr<natsSubscription, Deleter<natsSubscription_Destroy>> subscription{raw};
  int taken = 0;
  const double took = seconds([&] {
    while (taken < events) {
      natsMsgList list;
      if (natsSubscription_Fetch(&list, raw, std::min(500, events - taken), 1000, nullptr) != NATS_OK)
        continue;
      for (int i = 0; i < list.Count; ++i) natsMsg_Ack(list.Msgs[i], nullptr);
      taken += list.Count;
      natsMsgList_Destroy(&list);
    }
    connection.flush(5000ms);
  });
  return events / took;
}

/// (b) and its variants.
double consume_with(const std::string& url, int events, ConsumerOptions options,
                    std::function<void(const Delivery&)> before = {}) {
  forget_group(url);
  TempDir folder;
  std::array mailers{Mailer{folder / "inbox.db", std::move(options), std::move(before)}};
  return events / consume(mailers, events);
}

double consume_each(const std::string& url, int events) {
  auto options = options_for(url);
  options.max_batch = 1;
  return consume_with(url, events, options);
}

/// (d) Four instances on one file.
double consume_shared(const std::string& url, int events) {
  forget_group(url);
  TempDir folder;
  const auto file = folder / "inbox.db";
  std::array mailers{Mailer{file, options_for(url)}, Mailer{file, options_for(url)},
                     Mailer{file, options_for(url)}, Mailer{file, options_for(url)}};
  return events / consume(mailers, events);
}

/// (e) Every message a duplicate.
double replay(const std::string& url, int events) {
  TempDir folder;
  forget_group(url);
  {
    std::array first{Mailer{folder / "inbox.db", options_for(url)}};
    (void)consume(first, events);
  }
  forget_group(url);
  std::array again{Mailer{folder / "inbox.db", options_for(url)}};
  return events / consume(again, events);
}

/// (f) One in a hundred fails twice.
double failing(const std::string& url, int events) {
  auto options = options_for(url);
  options.backoff = {.base = 10ms, .max = 100ms};
  return consume_with(url, events, options, [](const Delivery& delivery) {
    if (delivery.stream_sequence % 100 == 0 && delivery.attempt <= 2) throw std::runtime_error("not yet");
  });
}

/// (h) Handlers that wait 5 ms each, on 64 workers.
double consume_concurrently(const std::string& url, int events) {
  forget_group(url);
  TempDir folder;
  SqliteInbox inbox{(folder / "inbox.db").string()};
  auto options = options_for(url);
  options.workers = 64;
  Consumer consumer{inbox, options};
  consumer.on<UserCreated>("user.created",
                           [](const UserCreated&, const Delivery&) { std::this_thread::sleep_for(5ms); });
  return events / seconds([&] {
           std::jthread work{[&](const std::stop_token& stop) { consumer.run(stop); }};
           while (consumer.stats().handled < static_cast<std::uint64_t>(events))
             std::this_thread::sleep_for(1ms);
         });
}

/// (i) With ids in the inbox already, as if events had come for months.
double full_inbox(const std::string& url, int events, int rows) {
  forget_group(url);
  TempDir folder;
  std::array mailers{Mailer{folder / "inbox.db", options_for(url)}};
  auto& database = mailers[0].inbox().database();
  database.exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
                std::to_string(rows) +
                ") INSERT INTO inbox(group_id, event_id, handled_at) SELECT (SELECT id FROM inbox_group), "
                "CAST(char(1) || '!' || printf('%014d', i) AS BLOB), 4102444800000 FROM n");
  database.execAndGet("PRAGMA wal_checkpoint(TRUNCATE)");
  return events / consume(mailers, events);
}

/// (k) The same handler, inbox rows and commits, fed from memory.
double handler_limit(const std::vector<WireMessage>& messages) {
  TempDir folder;
  SqliteInbox inbox{(folder / "inbox.db").string()};
  inbox.tables().join(group);
  WelcomeEmails emails{inbox.database()};
  Handlers handlers;
  handlers.add("user.created", {[&emails](const Delivery& delivery) {
                 emails.write(delivery.event.json().get<UserCreated>());
               }});
  auto options = options_for("nats://none");
  KeyOrder key_order{options};
  BatchExecutor executor{inbox.tables(), handlers, options, key_order};
  const double took = seconds([&] {
    for (std::size_t done = 0; done < messages.size();) {
      std::vector<Delivery> batch;
      const auto end = std::min(done + static_cast<std::size_t>(options.max_batch), messages.size());
      for (; done < end; ++done) {
        Delivery delivery;
        delivery.attempt = 0;
        delivery.headers = messages[done].headers;
        delivery.event = decode(delivery.headers, messages[done].payload, "user.created");
        batch.push_back(std::move(delivery));
      }
      std::vector<Delivery*> pointers;
      for (auto& delivery : batch) pointers.push_back(&delivery);
      for (std::span<Delivery* const> rest{pointers}; !rest.empty();)
        rest = rest.subspan(executor.run_batch(rest).size());
    }
  });
  return static_cast<double>(messages.size()) / took;
}

/// (j) The largest resident size, in MiB, of the reference consumer over all events.
double resident(const std::string& url) {
  TempDir folder;
  test::Process process{
      test::executable("consumer-example"),
      {"--group", "resident", "--db", (folder / "w.db").string(), "--exit-when-idle", "1000"},
      {.environment = {{"NATS_URL", url}, {"TIDINGS_LOG", "warn"}}, .input = {}, .log_folder = {}}};
  return largest_resident(process);
}

/// (g)
std::vector<double> sqlite_flow(const std::string& url, int events) {
  const TempDir folder;
  const auto outbox_url = "sqlite:" + (folder / "auth.db").string();
  Database::open(outbox_url, Database::Open::create)->migrate();
  return flow_latencies(url, outbox_url, events, [&](int count, const std::function<void()>& handled) {
    Mailer mailer{folder / "inbox.db", options_for(url)};
    handle_with(mailer.consumer(), count, handled);
  });
}

/// (l) Of a group's cost, by the types that it handles.
void measure_types(Figures& figures, const NatsServer& server, const std::vector<WireMessage>& messages) {
  publish_twenty_types(server, messages);
  const auto events = static_cast<int>(messages.size());
  const auto all = cost_of_types(server, 20, events), one = cost_of_types(server, 1, events);
  figures.set("one_of_twenty_server", "(l) one of twenty types, share of the server's CPU for all",
              one.server / all.server);
  figures.set("one_of_twenty_instance", "    share of the instance's CPU for all",
              one.instance / all.instance);
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures{"consumer"};
  bool quick = false;
  CLI::App app{"Measures the consumer engine against raw fetching and the handler alone.", "bench-consumer"};
  app.add_flag("--quick", quick, "a tenth of the messages");
  figures.add_flags(app);
  CLI11_PARSE(app, argc, argv);
  Sizes sizes;
  if (quick) sizes = {20000, 500, 20000, 500000, 300, 6000, 3};

  spdlog::set_level(spdlog::level::err);
  try {
    NatsServer server;
    const auto url = server.url();
    {
      Connection connection{ConnectionOptions{.urls = {url}}};
      ensure_stream(connection, {});
    }
    if (figures.wanted("flow_p50_ms")) {
      std::vector<double> latencies;
      for (int i = 0; i < sizes.rounds; ++i) {
        const auto some = sqlite_flow(url, sizes.flow);
        latencies.insert(latencies.end(), some.begin(), some.end());
      }
      figures.set("flow_p50_ms", "(g) commit to handled through the relay, p50 ms",
                  percentile(latencies, 0.5));
      figures.set("flow_p99_ms", "    p99 ms", percentile(latencies, 0.99));
      figures.set("flow_max_ms", "    max ms", percentile(latencies, 1));
    }
    purge(url);
    const auto messages = sample_messages(sizes.events);
    (void)publish_raw(url, messages);
    figures.in_turn(
        {{"raw_consume_per_s", "(a) raw fetch 500 and ack, messages/s",
          [&] { return raw_consume(url, sizes.events); }},
         {"consume_per_s", "(b) handler, business row, inbox row, fsync, events/s",
          [&] { return consume_with(url, sizes.events, options_for(url)); }},
         {"handler_limit_per_s", "(k) the same from memory, events/s",
          [&] { return handler_limit(messages); }},
         {"commit_each_per_s", "(c) a commit a message, events/s",
          [&] { return consume_each(url, sizes.commit_each); }},
         {"shared_inbox_per_s", "(d) four instances on one inbox, events/s",
          [&] { return consume_shared(url, sizes.events); }},
         {"replay_per_s", "(e) all duplicates, events/s", [&] { return replay(url, sizes.events); }},
         {"failing_per_s", "(f) 1 % fail twice, events/s", [&] { return failing(url, sizes.events); }},
         {"concurrent_per_s", "(h) 64 workers, handlers of 5 ms, events/s",
          [&] { return consume_concurrently(url, sizes.concurrent); }},
         {"full_inbox_per_s", "(i) ids in the inbox already, events/s",
          [&] { return full_inbox(url, sizes.events, sizes.in_inbox); }}},
        sizes.rounds);
    figures.ratio("consume_ratio", "(b)/(a)", "consume_per_s", "raw_consume_per_s");
    figures.ratio("handler_limit_ratio", "(b)/(k)", "consume_per_s", "handler_limit_per_s");
    figures.ratio("group_commit_ratio", "(b)/(c)", "consume_per_s", "commit_each_per_s");
    figures.ratio("full_inbox_ratio", "(i)/(b)", "full_inbox_per_s", "consume_per_s");
    if (figures.wanted("consumer_rss_mib"))
      figures.set("consumer_rss_mib", "(j) resident, MiB", resident(url));
    if (figures.wanted("consumer_large_rss_mib")) {
      purge(url);
      (void)publish_raw(url, messages_some_large(sizes.some_large));
      figures.set("consumer_large_rss_mib", "    with one in 60 events of 800 KB", resident(url));
    }
    if (figures.wanted("one_of_twenty_server") || figures.wanted("one_of_twenty_instance"))
      measure_types(figures, server, messages);
    figures.print();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench-consumer: " << error.what() << '\n';
    return 1;
  }
}
