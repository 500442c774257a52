#include "support/relays.hpp"

#include <cstdlib>
#include <exception>
#include <set>
#include <stdexcept>

namespace tidings::test {

using std::chrono::microseconds;

namespace {
constexpr std::size_t longest_audit = 2000;  // one lost batch would fill screens
}

Relays::Relays(const std::filesystem::path& parent, NatsServerOptions options)
    : server(std::move(options)), jetstream(server.url()), outbox(parent) {}

Relays::Relays(Engine engine, NatsServerOptions options)
    : server(std::move(options)), jetstream(server.url()), outbox(engine) {}

ProcessOptions Relays::options(const Settings& settings) const {
  ProcessOptions options;
  options.environment = {{"NATS_URL", server.url()},
                         {"DATABASE_URL", outbox.url()},
                         {"OUTBOX_LEASE_MS", "1000"},
                         {"OUTBOX_BACKOFF_BASE_MS", "50"}};
  for (const auto& [name, value] : settings) {
    std::erase_if(options.environment, [&name](const auto& given) { return given.first == name; });
    options.environment.emplace_back(name, value);
  }
  return options;
}

Process Relays::start(const Settings& settings, const std::vector<std::string>& arguments) const {
  std::vector<std::string> all{"relay"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Process{executable("tidings"), all, options(settings)};
}

Process Relays::start_with_fault(const std::string& inject, const Settings& settings) const {
  auto with = options(settings);
  with.environment.emplace_back("ASAN_OPTIONS", "detect_leaks=0");  // it cannot look while it is traced
  // -D: the relay is the process that was started, so that signals and its exit code are the relay's.
  return Process{"strace",
                 {"-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=" + inject,
                  executable("tidings").string(), "relay"},
                 with};
}

std::int64_t Relays::epoch() const {
  return outbox.number("SELECT coalesce(max(epoch), 0) FROM outbox_lease");
}

std::string Relays::holder() const {
  return outbox.text("SELECT coalesce(max(holder), '') FROM outbox_lease");
}

pid_t Relays::active() const {
  const auto name = holder();  // begins with the process id
  return name.empty() ? 0 : std::stoi(name);
}

std::string Relays::audit() { return test::audit(outbox, jetstream.messages("AUTH_EVENTS")); }

std::string audit(const Outbox& outbox, const std::vector<StoredMessage>& stream) {
  auto wrong = ledger(outbox, stream);
  const auto add = [&wrong](std::int64_t count, const std::string& what) {
    if (count != 0) wrong += std::to_string(count) + " " + what + "\n";
  };
  add(outbox.count("status <> 'PUBLISHED'"), "rows are not PUBLISHED");
  add(outbox.count("retryCount <> 0 OR lastError IS NOT NULL"), "rows have used an attempt");
  const auto rows = outbox.count("true");
  add(rows - static_cast<std::int64_t>(stream.size()), "rows more than messages in the stream");
  if (wrong.size() > longest_audit) wrong.resize(longest_audit);
  return wrong;
}

bool can_inject_faults() {
  try {
    return run("strace", {"-qq", "-o", "/dev/null", "true"}).exit == exited(0);
  } catch (const std::exception&) {
    return false;
  }
}

Writers::Writers(const std::string& database, const Load& load) {
  for (int i = 0; i < load.writers; ++i)
    threads_.emplace_back([this, url = database, load, i](const std::stop_token& stop) {
      try {
        write(stop, url, load, load.seed * 1000U + static_cast<unsigned>(i));
      } catch (const std::exception& error) {
        const std::lock_guard lock{mutex_};
        error_ = error.what();
      }
    });
}

void Writers::write(const std::stop_token& stop, const std::string& url, const Load& load, unsigned seed) {
  std::mt19937 random{seed};
  const auto below = [&random](int end) { return std::uniform_int_distribution<int>{0, end - 1}(random); };
  const auto database = Database::open(url);
  const auto repository = database->outbox();
  int written = 0;
  for (int done = 0; done < load.commits && !stop.stop_requested();) {
    const int events = 1 + below(load.largest_commit);
    try {
      database->transact([&](Transaction& transaction) {
        std::multiset<std::string> aggregates;  // in order, so that no two wait for each other
        for (int i = 0; i < events; ++i) aggregates.insert("user-" + std::to_string(below(load.aggregates)));
        for (const auto& aggregate : aggregates) {
          lock_aggregate(transaction, aggregate);
          DomainEvent event;
          event.aggregate_id = aggregate;
          event.aggregate_type = "User";
          event.event_type = "user.created";
          event.data = {{"n", ++written}};
          repository->add(transaction, event);
          if (load.longest_pause_inside > microseconds{0})
            random_pause(random, microseconds{0}, load.longest_pause_inside);
        }
      });
      committed_ += events;
      ++done;
    } catch (const DatabaseError& error) {
      if (!error.retryable()) throw;
      ++refused_;
    }
    random_pause(random, microseconds{0}, load.longest_pause);
  }
}

void Writers::stop() {
  for (auto& thread : threads_) thread.request_stop();
  finish();
}

void Writers::finish() {
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
  const std::lock_guard lock{mutex_};
  if (!error_.empty()) throw std::runtime_error("a writer ended: " + error_);
}

unsigned random_seed() {
  const char* given = std::getenv("TIDINGS_SEED");
  return given != nullptr ? static_cast<unsigned>(std::stoul(given)) : std::random_device{}() % 1000000;
}

void random_pause(std::mt19937& random, microseconds shortest, microseconds longest) {
  std::uniform_int_distribution<microseconds::rep> pause{shortest.count(), longest.count()};
  std::this_thread::sleep_for(microseconds{pause(random)});
}

int occurrences(const std::string& log, const std::string& text) {
  int count = 0;
  for (auto at = log.find(text); at != std::string::npos; at = log.find(text, at + text.size())) ++count;
  return count;
}

}  // namespace tidings::test
