#include "auth_service.hpp"
#include "command_line.hpp"
#include "commands.hpp"

#include <tidings/database.hpp>

#include <iostream>
#include <memory>

namespace tidings {

void add_migrate_command(CommandLine& line) {
  const auto outbox_only = std::make_shared<bool>(false), notify_trigger = std::make_shared<bool>(false);
  auto& command =
      line.command("migrate", "Creates the tables that are missing.", {SettingGroup::database}, [=] {
        const auto database = Database::open(database_url(), Database::Open::create);
        if (*outbox_only)
          database->migrate();
        else
          AuthService::migrate(*database);
        if (*notify_trigger) database->add_notify_trigger();
        std::cout << database->name() << ": tables are ready\n";
        return exit_code::done;
      });
  command.add_flag(
      "--outbox-only", *outbox_only,
      "only the outbox's tables, as 'tidings outbox init --create' makes them: no table of users");
  command.add_flag("--notify-trigger", *notify_trigger,
                   "PostgreSQL: a trigger that wakes the relay also after commits of other programs");
}

}  // namespace tidings
