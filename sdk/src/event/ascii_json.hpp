#pragma once

#include <string>
#include <string_view>

namespace tidings {

/// Appends a JSON text, which must be valid, on one line and in ASCII, as a header must be. Numbers, the
/// order of names and escapes stay as they were written.
void append_ascii_json(std::string& out, std::string_view json);

}  // namespace tidings
