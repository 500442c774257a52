#pragma once

#include <string>
#include <string_view>

namespace tidings {

/// An array of texts in PostgreSQL's notation.
class TextArray {
 public:
  void add(std::string_view text) {
    text_ += text_.size() == 1 ? "\"" : ",\"";
    for (const char letter : text) {
      if (letter == '"' || letter == '\\') text_ += '\\';
      text_ += letter;
    }
    text_ += '"';
  }
  [[nodiscard]] std::string text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

}  // namespace tidings
