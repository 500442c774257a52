#include "command_line.hpp"
#include "commands.hpp"

int main(int argc, char** argv) {
  tidings::CommandLine line{
      "tidings",
      "Carries events from an outbox to JetStream, and shows how they and their consumers are going."};
  tidings::add_relay_command(line);
  tidings::add_outbox_commands(line);
  tidings::add_groups_command(line);
  tidings::add_dlq_commands(line);
  tidings::add_doctor_command(line);
  return line.run(argc, argv);
}
