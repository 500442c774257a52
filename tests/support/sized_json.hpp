#pragma once

// Data of a size: for servers and streams that take no more than so much.

#include <cstddef>
#include <string>

namespace tidings::test {

/// A JSON document of `size` bytes; 2 at least.
inline std::string json_of_size(std::size_t size) { return "\"" + std::string(size - 2, 'x') + "\""; }

}  // namespace tidings::test
