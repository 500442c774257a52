#include "support/programs.hpp"

#include <exception>

namespace tidings::test {
namespace {

std::int64_t number_or_none(const std::string& database, const std::string& query) {
  try {
    return sqlite::number(database, query);
  } catch (const std::exception&) {
    return 0;  // no file or no table yet
  }
}

}  // namespace

Programs::Programs() : jetstream(server.url()) {
  const auto migrated = auth_service({"migrate"});
  if (migrated.exit != exited(0)) throw std::runtime_error("migrate failed: " + migrated.err);
}

ProcessOptions Programs::options(std::string input) const {
  return {.environment = {{"NATS_URL", server.url()},
                          {"DATABASE_URL", "sqlite:" + auth_db()},
                          {"OUTBOX_LEASE_MS", "1000"},
                          {"OUTBOX_BACKOFF_BASE_MS", "50"},
                          {"CONSUMER_ACK_WAIT_MS", "1000"},
                          {"CONSUMER_BACKOFF_BASE_MS", "50"}},
          .input = std::move(input),
          .log_folder = {}};
}

Finished Programs::auth_service(const std::vector<std::string>& arguments, const std::string& input) {
  return run(executable("auth-service"), arguments, options(input));
}

Finished Programs::tidings(const std::vector<std::string>& arguments) {
  return run(executable("tidings"), arguments, options());
}

Process Programs::start_relay(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"relay"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Process{executable("tidings"), all, options()};
}

Process Programs::start_serving() {
  return Process{executable("auth-service"), {"serve", "--http", "127.0.0.1:0"}, options()};
}

Process Programs::start_registering(const std::string& lines, const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"register", "--from", "-"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Process{executable("auth-service"), all, options(lines)};
}

Process Programs::start_consumer(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{"--group", "welcome-mailer", "--db", inbox_db(), "--json"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Process{executable("consumer-example"), all, options()};
}

std::int64_t Programs::in_auth(const std::string& query) const { return number_or_none(auth_db(), query); }

std::int64_t Programs::in_inbox(const std::string& query) const { return number_or_none(inbox_db(), query); }

std::string user_lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i)
    lines += R"({"email":"user)" + std::to_string(i) + R"(@example.org","name":"Zoë )" + std::to_string(i) +
             "\"}\n";
  return lines;
}

}  // namespace tidings::test
