#include "inbox/table_names.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

constexpr std::array<std::string_view, 7> tables{
    "inbox", "inbox_attempt", "inbox_beat", "inbox_group", "inbox_order", "inbox_position", "inbox_schema"};
// PostgreSQL cuts names of more than 63 bytes, those that it makes of a table's and a column's as well.
constexpr std::size_t longest = 40;

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }
bool is_of_a_name(char letter) {
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || letter == '_' ||
         is_digit(letter);
}

}  // namespace

TableNames::TableNames(std::string prefix) : prefix_(std::move(prefix)) {
  if (prefix_.size() > longest || !std::ranges::all_of(prefix_, is_of_a_name) ||
      (!prefix_.empty() && is_digit(prefix_.front())))
    throw SettingError("table_prefix=" + prefix_ +
                       ": takes letters, digits and _, not a digit first, at most " +
                       std::to_string(longest));
}

const std::string& TableNames::in(const std::string& sql) {
  if (prefix_.empty()) return sql;
  const auto [known, is_new] = known_.try_emplace(sql);
  if (!is_new) return known->second;
  auto& text = known->second;
  for (auto at = sql.begin(); at != sql.end();) {
    const auto end = std::find_if_not(at, sql.end(), is_of_a_name);
    const std::string word{at, end};
    if (std::ranges::find(tables, word) != tables.end()) text += prefix_;
    text += word;
    at = std::find_if(end, sql.end(), is_of_a_name);
    text.append(end, at);
  }
  return text;
}

}  // namespace tidings
