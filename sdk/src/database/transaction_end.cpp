#include "database/transaction_end.hpp"

#include <algorithm>
#include <string>

namespace tidings {
namespace {

void skip_comment(std::string_view& text) {
  int depth = 0;
  do {
    const auto begins = text.starts_with("/*"), ends = text.starts_with("*/");
    depth += begins ? 1 : ends ? -1 : 0;
    text.remove_prefix(begins || ends ? 2 : 1);
  } while (depth > 0 && !text.empty());
}

/// Removes what stands before a word: blanks, comments and the ends of empty statements.
void skip_to_word(std::string_view& text) {
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\f\v;"), text.size()));
    if (text.starts_with("--"))
      text.remove_prefix(std::min(text.find_first_of("\r\n"), text.size()));
    else if (text.starts_with("/*"))
      skip_comment(text);
    else
      return;
  }
}

/// In lower case.
std::string take_word(std::string_view& text) {
  skip_to_word(text);
  std::string word;
  for (; !text.empty(); text.remove_prefix(1)) {
    const char letter = text.front();
    const bool alphabetic = (letter | 0x20) >= 'a' && (letter | 0x20) <= 'z';
    if (!alphabetic && letter != '_' && (letter < '0' || letter > '9')) break;
    word += static_cast<char>(alphabetic ? letter | 0x20 : letter);
  }
  return word;
}

}  // namespace

bool ends_transaction(std::string_view statement) {
  const auto first = take_word(statement);
  if (first == "commit" || first == "end" || first == "abort") return true;
  if (first == "prepare") return take_word(statement) == "transaction";
  if (first != "rollback") return false;
  const auto second = take_word(statement);
  return (second == "work" || second == "transaction" ? take_word(statement) : second) != "to";
}

}  // namespace tidings
