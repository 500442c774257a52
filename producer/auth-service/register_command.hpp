#pragma once

namespace tidings {

class CommandLine;

void add_register_command(CommandLine& line);

}  // namespace tidings
