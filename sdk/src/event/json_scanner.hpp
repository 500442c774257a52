#pragma once

// Finds where JSON values begin and end, so that a part of a document can be sent on byte for byte:
// nlohmann/json would parse it into a tree and write it anew. As strict as RFC 8259.

#include <cstddef>
#include <optional>
#include <string_view>

namespace tidings {

class JsonScanner {
 public:
  static constexpr int deepest = 1000;  ///< levels of nesting

  explicit JsonScanner(std::string_view text) noexcept : text_(text) {}

  // Both are empty when something else comes next, or when it nests deeper than `deepest`.
  std::optional<std::string_view> take_value();
  std::optional<std::string_view> take_string();  ///< with its quotes, escapes as written

  /// The character when it comes next, white space before it skipped.
  bool take(char wanted) noexcept;
  /// Nothing but white space is left.
  bool at_end() noexcept;

 private:
  bool skip_value(int depth);
  bool skip_container(int depth);
  bool skip_string();
  bool skip_escape() noexcept;
  bool skip_character() noexcept;
  bool skip_number() noexcept;
  bool skip_digits() noexcept;
  bool skip_word(std::string_view word) noexcept;
  void skip_space() noexcept;
  [[nodiscard]] char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// Of JSON; text that is none may nest a few levels deeper.
[[nodiscard]] bool nests_deeper(std::string_view json, int levels) noexcept;

}  // namespace tidings
