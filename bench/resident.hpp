#pragma once

#include "support/process.hpp"

#include <tidings/event.hpp>

#include <vector>

namespace tidings::bench {

/// Events of which one in 60 has 800 KB.
[[nodiscard]] std::vector<WireMessage> messages_some_large(int count);

/// The largest resident size, in MiB, until the process ends by itself. Throws when it fails.
[[nodiscard]] double largest_resident(test::Process& process);

}  // namespace tidings::bench
