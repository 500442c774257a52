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

class TextTable {
 public:
  enum class Align { left, right };

  explicit TextTable(std::vector<Align> columns) : columns_(std::move(columns)) {}

  /// As many cells as columns.
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  void print(std::ostream& out) const;

 private:
  std::vector<Align> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace tidings
