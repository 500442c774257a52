#include "command_line.hpp"
#include "commands.hpp"

int main(int argc, char** argv) {
  tidings::CommandLine line{"auth-service", "Registers users; each one and its event are a single commit."};
  tidings::add_migrate_command(line);
  tidings::add_register_command(line);
  tidings::add_serve_command(line);
  return line.run(argc, argv);
}
