#pragma once

namespace tidings {

class CommandLine;

/// `tidings outbox stats|list|show`: what an operator asks of the table.
void add_outbox_commands(CommandLine& line);

}  // namespace tidings
