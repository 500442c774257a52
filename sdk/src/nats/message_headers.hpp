#pragma once

// The headers of a received message, read from its bytes: nats.c would put each into a hash table of its own,
// which costs more than all the rest of receiving (docs/decisions/0005-headers-from-bytes.md).

#include <tidings/event.hpp>

#include <nats/nats.h>

#include <cstddef>
#include <string_view>

namespace tidings {

/// Overwrites `headers`, which may be those of an earlier message, so that their memory is used again. Must
/// come before nats.c's own functions for headers, which change the block.
void read_headers(natsMsg* message, Headers& headers);

/// What its headers take up on the wire; 0 when nats.c does not let it be seen. Like read_headers(), it comes
/// before nats.c's own functions.
[[nodiscard]] std::size_t header_bytes(natsMsg* message);

/// `NATS/1.0`, lines of `Name: value`, an empty line; all ended by CR LF. False for anything else, also for
/// lines that go on in the next one; what is in `headers` is meaningless then.
[[nodiscard]] bool parse_headers(std::string_view block, Headers& headers);

}  // namespace tidings
