#include "command_line.hpp"
#include "commands.hpp"
#include "doctor_checks.hpp"
#include "printing.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <algorithm>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

namespace tidings {
namespace {

using Outcome = Finding::Outcome;

struct DoctorFlags {
  bool manage_stream = true;
  int inbox_retention = 720;
  bool json = false;
};

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return "ok";
    case Outcome::warning:
      return "warning";
    case Outcome::failed:
      return "failed";
    case Outcome::skipped:
      break;
  }
  return "skipped";
}

void append(std::vector<Check>& all, std::vector<Check> more) {
  std::ranges::move(more, std::back_inserter(all));
}

/// Returns the types that are pending, if they can be known.
std::optional<PendingTypes> look_at_database(const std::string& url, std::vector<Check>& checks) {
  std::unique_ptr<Database> database;
  checks.push_back({"database", look(
                                    [&] {
                                      database = Database::open(url, Database::Open::reading);
                                      return Finding{Outcome::ok, database->name()};
                                    },
                                    "start the database, or correct DATABASE_URL")});
  if (!database) return std::nullopt;
  append(checks, check_database(*database));
  try {
    return pending_types(*database);
  } catch (const DatabaseError&) {  // the schema's check has said why
    return std::nullopt;
  }
}

void look_at_broker(const BrokerExpectations& expected, std::vector<Check>& checks) {
  std::optional<JetStreamApi> api;
  checks.push_back(
      {"server", look(
                     [&] {
                       api.emplace("doctor");
                       return Finding{Outcome::ok, "answers"};
                     },
                     "start the server, or correct NATS_URL and the login (NATS_CREDS, NATS_USER …)")});
  if (api) append(checks, check_broker(*api, expected));
}

void print_checks(const std::vector<Check>& checks) {
  TextTable table;
  for (const auto& [name, finding] : checks) {
    table.push_back({to_string(finding.outcome), name, printable(finding.detail)});
    if (!finding.fix.empty()) table.push_back({"", "", "fix: " + printable(finding.fix)});
  }
  print_table(table);
}

int doctor(const DoctorFlags& flags) {
  const auto url = database_url();
  auto options = OutboxProcessorOptions::from_environment();
  options.manage_stream = flags.manage_stream;
  (void)ConnectionOptions::from_environment();  // a wrong setting is told before anything is looked at
  (void)DatabaseUrl::parse(url);

  std::vector<Check> checks;
  auto types = look_at_database(url, checks);
  look_at_broker({.outbox = options,
                  .types = std::move(types),
                  .inbox_retention = std::chrono::hours{flags.inbox_retention}},
                 checks);
  if (flags.json)
    for (const auto& [name, finding] : checks)
      print({{"check", name},
             {"outcome", to_string(finding.outcome)},
             {"detail", finding.detail},
             {"fix", or_null(finding.fix)}});
  else
    print_checks(checks);
  const bool failed = std::ranges::any_of(
      checks, [](const Check& check) { return check.finding.outcome == Outcome::failed; });
  return failed ? exit_code::failed : exit_code::done;
}

}  // namespace

void add_doctor_command(CommandLine& line) {
  const auto flags = std::make_shared<DoctorFlags>();
  auto& command = line.command(
      "doctor", "Checks database, server and stream against what the relay needs, and says what to do.",
      {SettingGroup::database, SettingGroup::nats, SettingGroup::outbox}, [flags] { return doctor(*flags); });
  command.add_flag("--json", flags->json, "print one JSON object a line");
  command.add_flag("--manage-stream,!--no-manage-stream", flags->manage_stream,
                   "as the relay: whether it makes the stream when it is missing (default)");
  command
      .add_option("--inbox-retention", flags->inbox_retention,
                  "hours for which consumers remember what they have handled: their inbox_retention (720)")
      ->check(CLI::Range(1, 876000));
}

}  // namespace tidings
