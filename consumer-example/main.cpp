// The reference consumer: writes a welcome e-mail into a table for each user that was registered. The row and
// the note that the event was handled are one commit: a redelivered event does not write a second e-mail.

#include "welcome_email.hpp"

#include <tidings/consumer.hpp>
#include <tidings/error.hpp>
#include <tidings/monitor_server.hpp>
#include <tidings/settings.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <string>

namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string group = "welcome-mailer";
  std::string database = "welcome.db";
  std::string instance = "consumer-" + std::to_string(getpid());
  std::string log_level = "info";
  std::string http;  // where to serve health and metrics
  int exit_when_idle_ms = 0;
  bool json = false;
};

// Says what the handler did. The commit comes after it: should that fail, the event comes
// again and so does its line, with a higher attempt. The counts of stats are of commits.
void report(const UserCreated& user, const tidings::Delivery& delivery, const Flags& flags) {
  if (flags.json)
    std::cout << Json{{"id", delivery.event.id},
                      {"type", delivery.event.type},
                      {"userId", user.userId},
                      {"attempt", delivery.attempt},
                      {"instance", flags.instance}}
              << std::endl;
  else
    std::cout << delivery.event.type << ' ' << user.userId << " handled, attempt " << delivery.attempt
              << std::endl;
}

void report(const tidings::ConsumerStats& stats, const Flags& flags) {
  const Json counts{{"received", stats.received},
                    {"handled", stats.handled},
                    {"duplicates", stats.duplicates},
                    {"retried", stats.retried},
                    {"deadLettered", stats.dead_lettered},
                    {"ignored", stats.ignored},
                    {"commits", stats.commits}};
  if (flags.json)
    std::cout << Json{{"stats", counts}} << std::endl;
  else
    std::cout << "handled " << stats.handled << ", duplicates " << stats.duplicates << ", retried "
              << stats.retried << ", dead letters " << stats.dead_lettered << std::endl;
}

// The handler's transaction has the type of its inbox: what `write` does with it is committed together with
// the note that the event was handled.
template <class Inbox>
void consume(Inbox inbox, const Flags& flags) {
  auto options = tidings::ConsumerOptions::from_environment();
  options.group = flags.group;
  if (flags.exit_when_idle_ms > 0)
    options.exit_when_idle = std::chrono::milliseconds{flags.exit_when_idle_ms};

  create_tables(inbox.database());
  tidings::Consumer<Inbox> consumer{inbox, options};
  consumer.template on<UserCreated>(
      "user.created",
      [&](const UserCreated& user, typename Inbox::Transaction& tx, const tidings::Delivery& delivery) {
        write(tx, compose(user, delivery.event.id, flags.instance));
        report(user, delivery, flags);
      });
  std::optional<tidings::MonitorServer> monitor;
  if (!flags.http.empty()) {
    monitor.emplace(tidings::HttpOptions::from_environment(flags.http));
    monitor->watch(consumer);
    monitor->start();
  }
  consumer.run();  // until SIGINT or SIGTERM; drains
  report(consumer.stats(), flags);
}

void consume(const Flags& flags) {
  if (tidings::DatabaseUrl::parse(flags.database, "CONSUMER_DATABASE_URL").kind ==
      tidings::DatabaseUrl::Kind::sqlite)
    return consume<tidings::SqliteInbox>(tidings::SqliteInbox{flags.database}, flags);
#ifdef CONSUMER_POSTGRES
  return consume<tidings::PostgresInbox>(tidings::PostgresInbox{flags.database}, flags);
#else
  throw tidings::SettingError("CONSUMER_DATABASE_URL: this consumer was built without PostgreSQL");
#endif
}

void add_flags(CLI::App& app, Flags& flags) {
  app.set_version_flag("--version", "tidings " TIDINGS_VERSION);
  app.add_option("--group", flags.group, "group to join: its instances share the events")
      ->envname("CONSUMER_GROUP")
      ->capture_default_str();
  app.add_option("--db", flags.database,
                 "for e-mails and inbox, shared by the group: SQLite file or postgresql:// URL")
      ->envname("CONSUMER_DATABASE_URL")
      ->capture_default_str();
  app.add_option("--instance", flags.instance, "name of this instance in what it writes");
  app.add_option("--exit-when-idle", flags.exit_when_idle_ms, "end after this many ms without an event")
      ->check(CLI::Range(1, 24 * 3600 * 1000));
  // As NATS_URL: ConsumerOptions::from_environment() reads it.
  app.add_option_function<std::string>(
         "--order", [](const std::string& order) { setenv("CONSUMER_ORDER", order.c_str(), 1); },
         "of each user's events: among what an instance has (shared), or always (strict) [shared]")
      ->envname("CONSUMER_ORDER")
      ->check(CLI::IsMember({"shared", "strict"}));
  app.add_option("--http", flags.http, "HOST:PORT to serve health and metrics on; port 0 takes a free one");
  app.add_flag("--json", flags.json, "print one JSON object a line");
  app.add_option("--log-level", flags.log_level, "for stderr")
      ->envname("TIDINGS_LOG")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  // ConsumerOptions::from_environment() reads it, as the SDK's other settings.
  app.add_option_function<std::string>(
         "--nats-url", [](const std::string& urls) { setenv("NATS_URL", urls.c_str(), 1); },
         "servers, separated by commas [nats://localhost:4222]")
      ->envname("NATS_URL");
}

// Stdout belongs to what is reported.
void start_log(const Flags& flags) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("consumer-example"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
  spdlog::set_level(spdlog::level::from_str(flags.log_level));
}

int complain(const std::exception& error, int exit_code) {
  std::cerr << "consumer-example: " << error.what() << std::endl;
  return exit_code;
}

int run(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Writes a welcome e-mail into a table for each registered user.", "consumer-example"};
  add_flags(app, flags);
  try {
    app.parse(argc, argv);
    start_log(flags);
    consume(flags);
    return 0;
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? app.exit(error) : complain(error, 2);  // 0: --help, --version
  } catch (const tidings::SettingError& error) {
    return complain(error, 2);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    return complain(error, 1);
  }
}
