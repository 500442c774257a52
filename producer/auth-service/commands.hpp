#pragma once

// The commands of the program auth-service, each in the .cpp of its name.

namespace tidings {

class CommandLine;

void add_migrate_command(CommandLine& line);
void add_register_command(CommandLine& line);
void add_serve_command(CommandLine& line);

}  // namespace tidings
