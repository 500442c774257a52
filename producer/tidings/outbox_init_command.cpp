#include "command_line.hpp"
#include "commands.hpp"

#include <tidings/database.hpp>

#include <iostream>
#include <memory>

namespace tidings {
namespace {

struct InitFlags {
  bool create = false;
  bool notify_trigger = false;
};

/// An SQLite file that is not there is more often a wrong path than a new database, so it is made only when
/// asked.
int init(const InitFlags& flags) {
  const auto database =
      Database::open(database_url(), flags.create ? Database::Open::create : Database::Open::existing);
  database->migrate();
  database->require_schema();
  if (flags.notify_trigger) database->add_notify_trigger();
  std::cout << database->name() << ": the outbox's tables are ready\n";
  return exit_code::done;
}

}  // namespace

void add_outbox_init_command(CommandLine& line, CLI::App& outbox) {
  const auto flags = std::make_shared<InitFlags>();
  auto& command = line.command(
      "init",
      "Makes what is missing of the outbox's tables in a service's database, and touches nothing else there.",
      {SettingGroup::database}, [flags] { return init(*flags); }, &outbox);
  command.add_flag("--create", flags->create, "SQLite: make the file when there is none");
  command.add_flag("--notify-trigger", flags->notify_trigger,
                   "PostgreSQL: a trigger that wakes the relay after commits of writers that do not wake it");
}

}  // namespace tidings
