#pragma once

namespace tidings {

class CommandLine;

void add_migrate_command(CommandLine& line);

}  // namespace tidings
