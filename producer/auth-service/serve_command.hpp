#pragma once

namespace tidings {

class CommandLine;

void add_serve_command(CommandLine& line);

}  // namespace tidings
