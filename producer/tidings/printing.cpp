#include "printing.hpp"

#include "event/json_scanner.hpp"
#include "event/valid_utf8.hpp"

#include <algorithm>
#include <array>
#include <iomanip>
#include <iostream>
#include <sstream>

namespace tidings {
namespace {

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80U; }

std::size_t width(const std::string& text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues));
}

/// What a terminal obeys instead of showing it: C0, DEL, C1, line and paragraph separators, marks of
/// direction.
bool steers_terminal(char32_t letter) {
  return letter < 0x20 || (letter >= 0x7f && letter <= 0x9f) || letter == 0x061c || letter == 0x200e ||
         letter == 0x200f || (letter >= 0x2028 && letter <= 0x202e) ||
         (letter >= 0x2066 && letter <= 0x2069) || letter == 0xfeff;
}

/// The letter whose bytes are all of `bytes`, which are valid.
char32_t decoded(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes.front());
  if (bytes.size() == 1) return first;
  char32_t letter = first & (0x7fU >> bytes.size());
  for (const char byte : bytes.substr(1))
    letter = (letter << 6U) | (static_cast<unsigned char>(byte) & 0x3fU);
  return letter;
}

std::string escape(char32_t letter) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\\u";
  for (const unsigned shift : std::array{12U, 8U, 4U, 0U}) text += digits[(letter >> shift) & 0xfU];
  return text;
}

/// Of valid UTF-8, all but those of `kept`.
std::string escape_controls(std::string_view text, std::string_view kept) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    for (end = begin + 1; end < text.size() && continues(text[end]);) ++end;
    const auto bytes = text.substr(begin, end - begin);
    const auto letter = decoded(bytes);
    if (steers_terminal(letter) && kept.find(bytes) == std::string_view::npos)
      out += escape(letter);
    else
      out += bytes;
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return escape_controls(valid_utf8(std::string{text}), {}); }

std::string json_text(const Json& json, int indent) {
  // The line breaks are those between its parts: in texts they are escaped already.
  return escape_controls(json.dump(indent, ' ', false, Json::error_handler_t::replace), "\n");
}

Json json_or_text(const std::string& text) {
  if (nests_deeper(text, JsonScanner::deepest)) return text;  // writing a tree recurses for each level
  auto json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

void print(const Json& json) { std::cout << json_text(json) << '\n'; }

std::string shorten(const std::string& text, std::size_t limit) {
  if (width(text) <= limit) return text;
  std::size_t end = 0;
  for (std::size_t characters = 0; end < text.size(); ++end)
    if (!continues(text[end]) && ++characters == limit) break;
  return text.substr(0, end) + "…";
}

void print_table(const TextTable& table) {
  std::vector<std::size_t> widths;
  for (const auto& row : table) {
    widths.resize(row.size(), 0);
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  for (const auto& row : table) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(widths[i] - width(row[i]) + 2, ' ');
    std::cout << line.erase(line.find_last_not_of(' ') + 1) << '\n';
  }
}

std::string age_text(std::chrono::milliseconds age) {
  const auto text = [seconds = static_cast<double>(age.count()) / 1000](double unit, const char* name) {
    std::ostringstream out;
    out << std::fixed << std::setprecision(1) << seconds / unit << name;
    return out.str();
  };
  if (age < std::chrono::minutes{2}) return text(1, " s");
  if (age < std::chrono::hours{2}) return text(60, " min");
  if (age < std::chrono::hours{48}) return text(3600, " h");
  return text(86400, " d");
}

Json or_null(const std::string& text) { return text.empty() ? Json{} : Json(text); }

}  // namespace tidings
