#pragma once

// What commands print: tables and JSON. Texts come from other writers of a table or stream; none of their
// bytes reaches the terminal as a control.

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

using Json = nlohmann::ordered_json;

/// Valid UTF-8 without controls: these are written as `\u001b`. So are the signs that change the direction of
/// text and the breaks of lines.
[[nodiscard]] std::string printable(std::string_view text);

/// The same for JSON, which stays the same value. With an indent it is for people.
[[nodiscard]] std::string json_text(const Json& json, int indent = -1);

/// The text as JSON; as a text when it is none, or is nested so deep that nobody could write it.
[[nodiscard]] Json json_or_text(const std::string& text);

/// One object a line.
void print(const Json& json);

/// At most `limit` characters (code points), the last one `…` when cut.
[[nodiscard]] std::string shorten(const std::string& text, std::size_t limit);

/// Rows of cells, as many in each, in columns as wide as they need to be.
using TextTable = std::vector<std::vector<std::string>>;
void print_table(const TextTable& table);

/// `1.5 s`, `3.0 min`, `2.1 h`, `7.0 d`
[[nodiscard]] std::string age_text(std::chrono::milliseconds age);

/// For JSON: null when there is none.
[[nodiscard]] Json or_null(const std::string& text);

}  // namespace tidings
