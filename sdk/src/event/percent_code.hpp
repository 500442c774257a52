#pragma once

// Percent-encoding as CloudEvents wants it in header values.

#include <string>
#include <string_view>

namespace tidings {

void append_percent_encoded(std::string& out, std::string_view text);

/// A percent sign that starts no code is taken as it is, since not every sender encodes.
void percent_decode(std::string_view text, std::string& out);

}  // namespace tidings
