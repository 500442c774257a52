#include "auth_service.hpp"
#include "command_line.hpp"
#include "commands.hpp"
#include "line_reader.hpp"

#include <tidings/database.hpp>
#include <tidings/stop_signals.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace tidings {
namespace {

// A line longer than this is refused; far more than a legal e-mail address and name need.
constexpr std::size_t longest_line = 65536;
constexpr int commit_tries = 5;  // each waits for the lock as long as the database's busy timeout

struct RegisterFlags {
  std::optional<std::string> email, from;
  std::string name;
  std::size_t batch = 1;
  bool json = false;
};

struct ImportResult {
  std::uint64_t registered = 0, refused = 0;
  std::uint64_t last_line = 0;  ///< everything up to here is committed or refused
  bool stopped = false;         ///< asked to stop before the end of the input
};

/// Registers the users of a JSONL stream, `batch` of them to a commit. A line that cannot be accepted is
/// named on stderr and does not hold up the rest.
class UserImport {
 public:
  UserImport(AuthService& service, std::size_t batch) : service_(service), batch_(batch) {}

  /// Reads to the end, or until `stop`: then what was read is committed, and no more is read.
  /// Throws DatabaseError, saying up to which line users are registered.
  ImportResult run(LineReader& lines, const std::stop_token& stop) {
    using enum LineReader::Result;
    std::uint64_t number = 0;
    for (std::string text;;) {
      const auto read = lines.next(text, stop);
      if (read == line)
        take(++number, text);
      else if (read == too_long)
        pending_.push_back({++number, "longer than " + std::to_string(longest_line) + " bytes"});
      // Users that come slowly through a pipe must not wait for a batch to fill up.
      const bool pause = read == idle || read == stopped || read == end;
      if (pause || pending_.size() >= batch_) commit(stop);
      result_.stopped = read == stopped;
      if (read == stopped || read == end) break;
    }
    std::cerr << clear_progress() << std::flush;
    return result_;
  }

 private:
  /// A line that waits for the next commit, in the order of the input.
  struct Pending {
    std::uint64_t line;
    std::string error;  ///< empty when it is one of `registrations_`
  };

  void take(std::uint64_t line, const std::string& text) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) return;
    try {
      registrations_.push_back(parse_registration(text));
      pending_.push_back({line, {}});
    } catch (const InvalidRegistration& error) {
      pending_.push_back({line, error.what()});
    }
  }

  void commit(const std::stop_token& stop) {
    if (pending_.empty()) return;
    const auto outcomes = register_with_retries(stop);
    auto outcome = outcomes.begin();
    for (const auto& [line, error] : pending_) {
      const auto& refusal = error.empty() ? (outcome++)->error : error;
      ++(refusal.empty() ? result_.registered : result_.refused);
      if (!refusal.empty()) std::cerr << clear_progress() << "line " << line << ": " << refusal << std::endl;
      result_.last_line = line;
    }
    pending_.clear();
    registrations_.clear();
    if (terminal_) std::cerr << '\r' << result_.registered << " registered" << std::flush;
  }

  /// On a terminal, errors and the summary take the place of the progress line.
  [[nodiscard]] const char* clear_progress() const { return terminal_ ? "\r\033[K" : ""; }

  std::vector<AuthService::Outcome> register_with_retries(const std::stop_token& stop) {
    if (registrations_.empty()) return {};
    std::chrono::milliseconds delay{100};
    for (int attempt = 1;; ++attempt) {
      try {
        return service_.register_users(registrations_);
      } catch (const DatabaseError& error) {
        if (!error.retryable() || attempt == commit_tries || stop.stop_requested())
          throw DatabaseError(std::string(error.what()) +
                              " (registered so far: " + std::to_string(result_.registered) + ", up to line " +
                              std::to_string(result_.last_line) + ")");
        spdlog::warn("commit failed, trying again attempt={} error={}", attempt, error.what());
      }
      std::this_thread::sleep_for(delay);
      delay *= 2;
    }
  }

  AuthService& service_;
  std::size_t batch_;
  std::vector<Registration> registrations_;
  std::vector<Pending> pending_;
  ImportResult result_;
  const bool terminal_ = ::isatty(STDERR_FILENO) == 1;
};

std::string summary_json(const ImportResult& result, double seconds) {
  return nlohmann::ordered_json{{"registered", result.registered},
                                {"refused", result.refused},
                                {"lastLine", result.last_line},
                                {"seconds", seconds},
                                {"stopped", result.stopped}}
      .dump();
}

std::string summary_text(const ImportResult& result, double seconds) {
  std::ostringstream text;
  text << std::fixed << "registered " << result.registered << ", refused " << result.refused << " in "
       << std::setprecision(1) << seconds << " s (" << std::setprecision(0)
       << static_cast<double>(result.registered) / seconds << "/s)";
  if (result.stopped)
    text << "; stopped after line " << result.last_line << ": go on with 'tail -n +" << result.last_line + 1
         << " FILE | auth-service register --from -'";
  return text.str();
}

int register_from(AuthService& service, const RegisterFlags& flags) {
  const auto begun = std::chrono::steady_clock::now();
  LineReader lines{*flags.from, longest_line};
  StopSignals signals;
  const auto result = UserImport{service, flags.batch}.run(lines, signals.token());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  std::cout << (flags.json ? summary_json : summary_text)(result, took.count()) << '\n';
  return result.refused == 0 ? exit_code::done : exit_code::failed;
}

int register_one(AuthService& service, const RegisterFlags& flags) {
  const auto user = service.register_user({*flags.email, flags.name});
  std::cout << (flags.json ? to_json(user).dump() : user.id) << '\n';
  return exit_code::done;
}

int register_users(const RegisterFlags& flags) {
  if (!flags.email && !flags.from) throw CLI::RequiredError("--email and --name, or --from,");
  const auto database = Database::open(database_url());
  database->require_schema();
  AuthService service{*database};
  return flags.from ? register_from(service, flags) : register_one(service, flags);
}

}  // namespace

void add_register_command(CommandLine& line) {
  const auto flags = std::make_shared<RegisterFlags>();
  auto& command = line.command("register", "Registers one user, or the users of a file; each with its event.",
                               {SettingGroup::database}, [flags] { return register_users(*flags); });
  auto* email = command.add_option("--email", flags->email, "e-mail address");
  auto* name = command.add_option("--name", flags->name, "full name");
  auto* from = command.add_option("--from", flags->from,
                                  "file with a user a line, {\"email\": …, \"name\": …}; '-' is stdin");
  auto* batch = command.add_option("--batch", flags->batch, "users a commit, 1 to 5000 (1); with --from");
  command.add_flag("--json", flags->json, "print one JSON object: the user, or the summary of --from");
  email->needs(name);
  name->needs(email);
  from->excludes(email);
  batch->needs(from)->check(CLI::Range(1, 5000));
}

}  // namespace tidings
