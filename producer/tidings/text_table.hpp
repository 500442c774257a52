#pragma once

// Columns for people. What comes from a database is made safe for a terminal.

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

/// Control characters become `?`: a text in a row must not steer the operator's terminal.
[[nodiscard]] std::string printable(std::string_view text);

/// At most `width` characters (code points), the last one `…` when cut.
[[nodiscard]] std::string shorten(const std::string& text, std::size_t width);

/// Rows of cells, as many in each, in columns as wide as they need to be.
using TextTable = std::vector<std::vector<std::string>>;

void print_table(std::ostream& out, const TextTable& table);

}  // namespace tidings
