#include "flow.hpp"

#include "mailer.hpp"
#include "sample_events.hpp"
#include "support/process.hpp"
#include "user.hpp"

#include <tidings/outbox_repository.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

namespace tidings::bench {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::vector<double> flow_latencies(const std::string& url, const std::string& outbox_url, int events,
                                   const Handle& handle) {
  purge(url);
  forget_group(url);
  std::array<int, 2> commits{}, effects{};
  if (pipe(commits.data()) != 0 || pipe(effects.data()) != 0) throw Error("cannot make a pipe");
  const auto tell = [](int pipe_end) {
    const auto at = steady_clock::now().time_since_epoch().count();
    if (write(pipe_end, &at, sizeof at) != sizeof at) _exit(1);
  };
  test::Process relay{
      test::executable("tidings"),
      {"relay"},
      {.environment = {{"DATABASE_URL", outbox_url}, {"NATS_URL", url}}, .input = {}, .log_folder = {}}};
  const pid_t consumer = fork();
  if (consumer == 0) {
    handle(events, [&] { tell(effects[1]); });
    _exit(0);
  }
  const pid_t writer = fork();
  if (writer == 0) {
    const auto database = Database::open(outbox_url);
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
