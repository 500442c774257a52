#include "migrate_command.hpp"

#include "command_line.hpp"
#include "infrastructure/database.hpp"

#include <iostream>

namespace tidings {

void add_migrate_command(CommandLine& line) {
  line.command("migrate", "Creates the tables that are missing.", {SettingGroup::database}, [] {
    Database database{database_path(), Database::Open::create};
    database.migrate();
    std::cout << database.path() << ": tables are ready\n";
    return exit_code::done;
  });
}

}  // namespace tidings
