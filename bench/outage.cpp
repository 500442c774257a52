// What a relay process costs while it has nothing to do, and while the broker is
// away with events waiting; and how soon it goes on. See scripts/bench.

#include "figures.hpp"
#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "user.hpp"

#include <tidings/outbox_repository.hpp>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

using namespace tidings;
using namespace tidings::bench;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

constexpr auto idle_time = 30s;
constexpr auto gives_up = 60s;

/// CPU time that the process has used, in seconds.
double cpu_seconds(pid_t pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text{std::istreambuf_iterator<char>{file}, {}};
  std::istringstream fields{text.substr(text.rfind(')') + 2)};
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void add_events(Database& database, OutboxRepository& outbox, int count) {
  database.transact([&](Transaction& transaction) {
    for (int i = 0; i < count; ++i)
      outbox.add(transaction, UserCreatedEvent{{.id = "user-" + std::to_string(i % 10),
                                                .email = "user@example.org",
                                                .name = "Some User",
                                                .created_at = now()}});
  });
}

void wait_until_published(OutboxRepository& outbox) {
  for (const auto deadline = steady_clock::now() + gives_up; steady_clock::now() < deadline;) {
    if (outbox.stats().pending == 0) return;
    std::this_thread::sleep_for(1ms);
  }
  throw Error("the relay did not go on within a minute");
}

}  // namespace

int main(int argc, char** argv) {
  Figures figures{"outage"};
  double minutes = 1;
  CLI::App app{"Measures a relay that idles, and one whose broker is away.", "bench-outage"};
  app.add_option("--minutes", minutes, "how long the broker is away (1)")->check(CLI::Range(0.05, 120.0));
  figures.add_flags(app);
  CLI11_PARSE(app, argc, argv);
  try {
    test::NatsServer server;
    test::TempDir folder;
    const auto path = (folder / "auth.db").string();
    const auto database = Database::open("sqlite:" + path, Database::Open::create);
    database->migrate();
    const auto outbox = database->outbox();
    test::Process relay{test::executable("tidings"),
                        {"relay"},
                        {.environment = {{"DATABASE_URL", "sqlite:" + path}, {"NATS_URL", server.url()}},
                         .input = {},
                         .log_folder = {}}};
    add_events(*database, *outbox, 100);
    wait_until_published(*outbox);

    std::this_thread::sleep_for(2s);  // what follows a commit is over
    auto used = cpu_seconds(relay.pid());
    std::this_thread::sleep_for(idle_time);
    figures.set("idle_cpu_percent", "idle, % of a core",
                (cpu_seconds(relay.pid()) - used) / std::chrono::duration<double>(idle_time).count() * 100);

    server.stop();
    add_events(*database, *outbox, 1000);
    used = cpu_seconds(relay.pid());
    const std::chrono::duration<double> outage{minutes * 60};
    const auto until = steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(outage);
    while (steady_clock::now() < until) {
      std::this_thread::sleep_until(std::min(steady_clock::now() + 10s, until));
      add_events(*database, *outbox, 1);  // the service goes on
    }
    const auto stats = outbox->stats();
    figures.set("outage_minutes", "broker away, minutes", minutes);
    figures.set("outage_cpu_percent", "% of a core meanwhile",
                (cpu_seconds(relay.pid()) - used) / outage.count() * 100);
    figures.set("outage_failed_rows", "rows FAILED or DEAD_LETTER",
                static_cast<double>(stats.failed + stats.dead_letter));
    const auto log = relay.err();
    figures.set("outage_log_lines", "lines of its log since start",
                static_cast<double>(std::count(log.begin(), log.end(), '\n')));
    server.start();
    const auto back = steady_clock::now();
    wait_until_published(*outbox);
    figures.set("outage_resume_ms", "from the server's return to all published, ms",
                std::chrono::duration<double, std::milli>(steady_clock::now() - back).count());
    relay.kill(SIGTERM);
    if (relay.wait() != test::exited(0)) throw Error("the relay failed: " + relay.err());
    figures.print();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "bench-outage: " << error.what() << '\n';
    return 1;
  }
}
