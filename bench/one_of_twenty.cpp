#include "one_of_twenty.hpp"

#include "mailer.hpp"
#include "sample_events.hpp"
#include "support/temp_dir.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>

namespace tidings::bench {
namespace {

constexpr int type_count = 20;

std::string type_of(int number) { return "type-" + std::to_string(number) + ".happened"; }

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double own_cpu() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

/// utime and stime are the 14th and 15th of its fields; the second is in parentheses, and may have spaces.
double cpu_of(int pid) {
  std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
  const std::string text{std::istreambuf_iterator<char>{file}, {}};
  std::istringstream fields{text.substr(text.rfind(')') + 2)};
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

void publish_twenty_types(const test::NatsServer& server, const std::vector<WireMessage>& messages) {
  purge(server.url());
  auto of_types = messages;
  for (std::size_t i = 0; i < of_types.size(); ++i)
    for (auto& [name, value] : of_types[i].headers)
      if (name == "ce-type")
        value = type_of(static_cast<int>(i) % type_count);
      else if (name == "Nats-Msg-Id" || name == "ce-id")
        value = "of-twenty-" + std::to_string(i);  // the stream has had the others
  (void)publish_raw(server.url(), of_types);
}

Cost cost_of_types(const test::NatsServer& server, int types, int events) {
  forget_group(server.url());
  const test::TempDir folder;
  SqliteInbox inbox{(folder / "inbox.db").string()};
  WelcomeEmails emails{inbox.database()};
  Consumer consumer{inbox, options_for(server.url())};
  for (int i = 0; i < types; ++i)
    consumer.on<UserCreated>(
        type_of(i), [&](const UserCreated& user, SQLite::Database&, const Delivery&) { emails.write(user); });
  const auto expected = static_cast<std::uint64_t>(events / type_count * types);
  const Cost before{cpu_of(server.pid()), own_cpu()};
  {
    const std::jthread work{[&](const std::stop_token& stop) { consumer.run(stop); }};
    while (consumer.stats().handled < expected) std::this_thread::sleep_for(std::chrono::milliseconds{10});
  }
  return {cpu_of(server.pid()) - before.server, own_cpu() - before.instance};
}

}  // namespace tidings::bench
