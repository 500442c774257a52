#pragma once

namespace tidings {

class CommandLine;

void add_relay_command(CommandLine& line);

}  // namespace tidings
