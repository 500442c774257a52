#pragma once

// The commands of the program tidings, each in the .cpp of its name.

namespace CLI {
class App;
}

namespace tidings {

class CommandLine;

void add_relay_command(CommandLine& line);

/// `tidings outbox stats|list|show`: what an operator asks of the table.
void add_outbox_commands(CommandLine& line);

/// `tidings outbox retry|purge`, in the family that holds the others.
void add_outbox_retry_commands(CommandLine& line, CLI::App& outbox);
/// `tidings outbox init`, likewise.
void add_outbox_init_command(CommandLine& line, CLI::App& outbox);

/// `tidings dlq list|show|redrive|purge`: consumers' dead letters.
void add_dlq_commands(CommandLine& line);

/// `tidings doctor`: what is wrong around a relay, and what to do.
void add_doctor_command(CommandLine& line);

/// `tidings groups`: how far each consumer group is.
void add_groups_command(CommandLine& line);

}  // namespace tidings
