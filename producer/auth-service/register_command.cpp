#include "register_command.hpp"

#include "auth_service.hpp"
#include "command_line.hpp"
#include "line_reader.hpp"
#include "registration_json.hpp"
#include "user_import.hpp"

#include <tidings/database.hpp>
#include <tidings/stop_signals.hpp>

#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

namespace tidings {
namespace {

struct RegisterFlags {
  std::optional<std::string> email, from;
  std::string name;
  std::size_t batch = 1;
  bool json = false;
};

int register_one(AuthService& service, const RegisterFlags& flags) {
  const auto user = service.register_user({*flags.email, flags.name});
  std::cout << (flags.json ? to_json(user).dump() : user.id) << '\n';
  return exit_code::done;
}

double per_second(const ImportResult& result) {
  return result.took.count() > 0 ? static_cast<double>(result.registered) / result.took.count() : 0;
}

std::string summary_json(const ImportResult& result) {
  return nlohmann::ordered_json{{"registered", result.registered},
                                {"refused", result.refused},
                                {"lastLine", result.last_line},
                                {"seconds", result.took.count()},
                                {"stopped", result.stopped}}
      .dump();
}

std::string summary_text(const ImportResult& result) {
  char figures[128];
  std::snprintf(figures, sizeof figures, "registered %llu, refused %llu in %.1f s (%.0f/s)",
                static_cast<unsigned long long>(result.registered),
                static_cast<unsigned long long>(result.refused), result.took.count(), per_second(result));
  std::string text = figures;
  if (result.stopped)
    text += "; stopped after line " + std::to_string(result.last_line) + ": go on with 'tail -n +" +
            std::to_string(result.last_line + 1) + " FILE | auth-service register --from -'";
  return text;
}

int register_from(AuthService& service, const RegisterFlags& flags) {
  LineReader lines{*flags.from, UserImport::max_line};
  StopSignals signals;
  const auto result = UserImport{service, flags.batch}.run(lines, signals.token());
  std::cout << (flags.json ? summary_json(result) : summary_text(result)) << '\n';
  return result.refused == 0 ? exit_code::done : exit_code::failed;
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
