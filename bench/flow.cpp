#include "flow.hpp"

#include "domain/user_created_event.hpp"
#include "infrastructure/outbox_repository.hpp"
#include "mailer.hpp"
#include "sample_events.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

namespace tidings::bench {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using tidings::test::TempDir;

std::vector<double> flow_latencies(const std::string& url, int events) {
  purge(url);
  forget_group(url);
  TempDir folder;
  const auto outbox_file = (folder / "auth.db").string();
  Database::open("sqlite:" + outbox_file, Database::Open::create)->migrate();
  std::array<int, 2> commits{}, effects{};
  if (pipe(commits.data()) != 0 || pipe(effects.data()) != 0) throw Error("cannot make a pipe");
  const auto tell = [](int pipe_end) {
    const auto at = steady_clock::now().time_since_epoch().count();
    if (write(pipe_end, &at, sizeof at) != sizeof at) _exit(1);
  };
  test::Process relay{test::executable("tidings"),
                      {"relay"},
                      {.environment = {{"DATABASE_URL", "sqlite:" + outbox_file}, {"NATS_URL", url}},
                       .input = {},
                       .log_folder = {}}};
  const pid_t consumer = fork();
  if (consumer == 0) {
    Mailer mailer{folder / "inbox.db", options_for(url)};
    std::jthread work{[&](const std::stop_token& stop) { mailer.consumer().run(stop); }};
    for (std::uint64_t seen = 0; seen < static_cast<std::uint64_t>(events);) {
      for (const auto handled = mailer.consumer().stats().handled; seen < handled; ++seen) tell(effects[1]);
      std::this_thread::sleep_for(50us);
    }
    work.request_stop();
    work.join();
    _exit(0);
  }
  const pid_t writer = fork();
  if (writer == 0) {
    const auto database = Database::open("sqlite:" + outbox_file);
    const auto outbox = database->outbox();
    auto next = steady_clock::now() + 1s;
    for (int i = 0; i < events; ++i, next += 5ms) {
      std::this_thread::sleep_until(next);
      database->transact(
          [&](Transaction& transaction) { outbox->add(transaction, UserCreatedEvent{some_user(i)}); });
      tell(commits[1]);
    }
    _exit(0);
  }
  std::vector<double> latencies;
  for (int i = 0; i < events; ++i) {
    steady_clock::rep committed = 0, handled = 0;
    if (read(commits[0], &committed, sizeof committed) != sizeof committed ||
        read(effects[0], &handled, sizeof handled) != sizeof handled)
      throw Error("the writer or the consumer failed");
    latencies.push_back(static_cast<double>(handled - committed) / 1e6);
  }
  for (const auto child : {writer, consumer}) waitpid(child, nullptr, 0);
  relay.kill(SIGTERM);
  relay.wait();
  for (const int end : {commits[0], commits[1], effects[0], effects[1]}) close(end);
  return latencies;
}

}  // namespace tidings::bench
