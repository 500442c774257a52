#pragma once

#include "support/process.hpp"

namespace tidings::bench {

/// The largest resident size, in MiB, until the process ends by itself. Throws when it fails.
[[nodiscard]] double largest_resident(test::Process& process);

}  // namespace tidings::bench
