// What a strict order within aggregates costs, against a shared group on the same stream, and how long a
// group stands still when its owner is stopped or killed. See scripts/bench.

#include "figures.hpp"
#include "mailer.hpp"
#include "sample_events.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <tidings/consumer.hpp>
#include <tidings/stream.hpp>

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::bench;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using tidings::test::NatsServer;
using tidings::test::Process;
using tidings::test::TempDir;

namespace {

struct Sizes {
  int events = 200000;
  int owners = 20;  // that are stopped, one after the other
  int rounds = 3;
};

ConsumerOptions strict(const std::string& url) {
  auto options = options_for(url);
  options.order = ConsumerOptions::Order::strict;
  return options;
}

/// One instance on an inbox of its own; events a second.
double handle_all(const std::string& url, int events, ConsumerOptions options,
                  std::function<void(const Delivery&)> before = {}) {
  forget_group(url);
  const TempDir folder;
  Mailer mailer{folder / "inbox.db", std::move(options), std::move(before)};
  return events / seconds([&] {
           std::jthread work{[&](const std::stop_token& stop) { mailer.consumer().run(stop); }};
           while (mailer.consumer().stats().handled < static_cast<std::uint64_t>(events))
             std::this_thread::sleep_for(1ms);
         });
}

/// One in a hundred fails twice.
double failing(const std::string& url, int events) {
  auto options = strict(url);
  options.backoff = {.base = 10ms, .max = 100ms};
  return handle_all(url, events, options, [](const Delivery& delivery) {
    if (delivery.stream_sequence % 100 == 0 && delivery.attempt <= 2) throw std::runtime_error("not yet");
  });
}

/// All of one aggregate.
std::vector<WireMessage> of_one_aggregate(std::vector<WireMessage> messages) {
  for (auto& message : messages)
    for (auto& [name, value] : message.headers)
      if (name == "ce-subject" || name == "ce-partitionkey") value = "hot";
  return messages;
}

/// Publishes an event each 5 ms while it lives.
class Publishing {
 public:
  explicit Publishing(const std::string& url)
      : thread_([url](const std::stop_token& stop) {
          test::JetStream stream{url};
          for (const auto& message : sample_messages(20000)) {
            if (stop.stop_requested()) return;
            stream.publish("auth.events.user.created", message.payload, message.headers);
            std::this_thread::sleep_for(5ms);
          }
        }) {}

 private:
  std::jthread thread_;
};

/// One of the instances that hand over to each other.
class Member {
 public:
  Member(const std::string& url, const std::filesystem::path& inbox)
      : mailer_(inbox, strict(url), [this](const Delivery&) {
          if (first_ == 0) first_ = steady_clock::now().time_since_epoch().count();
        }) {
    thread_ = std::jthread{[this](const std::stop_token& stop) { mailer_.consumer().run(stop); }};
  }
  void wait_until(ConsumerStatus::State state) {
    while (mailer_.consumer().status().state != state) std::this_thread::sleep_for(1ms);
  }
  void stop() { thread_.request_stop(); }
  [[nodiscard]] steady_clock::time_point first_event() const {
    while (first_ == 0) std::this_thread::sleep_for(1ms);
    return steady_clock::time_point{steady_clock::duration{first_}};
  }

 private:
  std::atomic<steady_clock::rep> first_{0};
  Mailer mailer_;
  std::jthread thread_;
};

double milliseconds_since(steady_clock::time_point begun,
                          steady_clock::time_point end = steady_clock::now()) {
  return std::chrono::duration<double, std::milli>(end - begun).count();
}

/// From the call that stops an owner to the first handler of the next one.
std::vector<double> hand_overs(const std::string& url, int count) {
  forget_group(url);
  const TempDir folder;
  const Publishing publishing{url};
  std::vector<double> took;
  auto owner = std::make_unique<Member>(url, folder / "inbox.db");
  (void)owner->first_event();
  for (int i = 0; i < count; ++i) {
    auto standby = std::make_unique<Member>(url, folder / "inbox.db");
    standby->wait_until(ConsumerStatus::State::standby);
    const auto begun = steady_clock::now();
    owner->stop();
    took.push_back(milliseconds_since(begun, standby->first_event()));
    owner = std::move(standby);
  }
  return took;
}

/// From the SIGKILL of an owner to the first effect of the next one.
double take_over(const std::string& url) {
  forget_group(url);
  const TempDir folder;
  const auto inbox = folder / "inbox.db";
  const auto start = [&] {
    return Process{
        test::executable("consumer-example"),
        {"--group", group, "--order", "strict", "--db", inbox.string()},
        {.environment = {{"NATS_URL", url}, {"TIDINGS_LOG", "error"}}, .input = {}, .log_folder = {}}};
  };
  const auto effects = [&] { return test::sqlite::number(inbox, "SELECT count(*) FROM welcome_email"); };
  auto owner = start();
  while (!std::filesystem::exists(inbox)) std::this_thread::sleep_for(1ms);
  const Publishing publishing{url};
  std::this_thread::sleep_for(1s);
  const auto standby = start();
  std::this_thread::sleep_for(1s);
  const auto begun = steady_clock::now();
  owner.kill(SIGKILL);
  (void)owner.wait();
  const auto before = effects();
  while (effects() == before) std::this_thread::sleep_for(1ms);
  return milliseconds_since(begun);
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures{"order"};
  bool quick = false;
  CLI::App app{"Measures a strict order against a shared group.", "bench-order"};
  app.add_flag("--quick", quick, "a tenth of the messages");
  figures.add_flags(app);
  CLI11_PARSE(app, argc, argv);
  const Sizes sizes = quick ? Sizes{20000, 5, 3} : Sizes{};

  spdlog::set_level(spdlog::level::err);
  try {
    const NatsServer server;
    const auto url = server.url();
    {
      Connection connection{ConnectionOptions{.urls = {url}}};
      ensure_stream(connection, {});
    }
    const auto messages = sample_messages(sizes.events);
    (void)publish_raw(url, messages);
    figures.in_turn(
        {{"shared_per_s", "(a) shared, one instance, events/s",
          [&] { return handle_all(url, sizes.events, options_for(url)); }},
         {"strict_per_s", "(b) strict, events/s", [&] { return handle_all(url, sizes.events, strict(url)); }},
         {"strict_failing_per_s", "(c) strict, 1 % fail twice, events/s",
          [&] { return failing(url, sizes.events); }}},
        sizes.rounds);
    figures.ratio("strict_ratio", "(b)/(a)", "strict_per_s", "shared_per_s");
    figures.ratio("strict_failing_ratio", "(c)/(b)", "strict_failing_per_s", "strict_per_s");
    if (figures.wanted("strict_hot_per_s")) {
      purge(url);
      (void)publish_raw(url, of_one_aggregate(messages));
      figures.in_turn({{"strict_hot_per_s", "(d) strict, all of one aggregate, events/s",
                        [&] { return handle_all(url, sizes.events, strict(url)); }}},
                      sizes.rounds);
      figures.ratio("strict_hot_ratio", "(d)/(b)", "strict_hot_per_s", "strict_per_s");
    }
    purge(url);
    if (figures.wanted("handover_ms")) {
      const auto took = hand_overs(url, sizes.owners);
      figures.set("handover_ms", "(e) from an owner's stop to its successor's first handler, p50 ms",
                  percentile(took, 0.5));
      figures.set("handover_max_ms", "    max ms", percentile(took, 1));
    }
    purge(url);
    if (figures.wanted("takeover_ms"))
      figures.set("takeover_ms",
                  "(f) from an owner's SIGKILL to its successor's first effect, lease 10 s, ms",
                  take_over(url));
    figures.print();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench-order: " << error.what() << '\n';
    return 1;
  }
}
