#include "letter_lists.hpp"

#include <algorithm>
#include <iostream>
#include <utility>
#include <vector>

namespace tidings {
namespace {

Json or_null(std::uint64_t number) { return number > 0 ? Json(number) : Json{}; }

Json letter_json(const DeadLetter& letter) {
  const auto& event = letter.event;
  return {{"sequence", letter.sequence},
          {"failedAt", letter.failed_at.empty() ? to_iso8601(letter.stored) : letter.failed_at},
          {"group", tidings::or_null(letter.group)},
          {"eventType", tidings::or_null(event.type)},
          {"aggregateType", tidings::or_null(event.aggregate_type)},
          {"aggregateId", tidings::or_null(event.aggregate_id)},
          {"eventId", tidings::or_null(event.id)},
          {"attempts", letter.attempts},
          {"reason", tidings::or_null(letter.reason)},
          {"originalStream", tidings::or_null(letter.original_stream)},
          {"originalSequence", or_null(letter.original_sequence)},
          {"originalSubject", tidings::or_null(letter.original_subject)},
          {"dataSize", letter.size}};
}

std::string aggregate_of(const Event& event) {
  if (event.aggregate_type.empty()) return event.aggregate_id;
  return event.aggregate_type + '/' + event.aggregate_id;
}

std::vector<std::string> row_of(const DeadLetter& letter) {
  return {std::to_string(letter.sequence),
          to_iso8601(letter.stored),
          printable(letter.group),
          printable(letter.event.type),
          printable(aggregate_of(letter.event)),
          std::to_string(letter.attempts),
          shorten(printable(letter.reason), 80)};
}

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }
bool is_hex(char letter) { return is_digit(letter) || (letter >= 'a' && letter <= 'f') || letter == '-'; }

/// With `#` for each word that looks like a number or an id: `user 42 at 3fa8-…` and `user 7 at 99c1-…` are
/// alike.
std::string pattern_of(const std::string& reason) {
  const auto is_word = [](char letter) {
    return is_digit(letter) || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           letter == '-' || letter == '_';
  };
  std::string pattern;
  for (std::size_t i = 0; i < reason.size();) {
    const auto begin = reason.begin() + static_cast<std::ptrdiff_t>(i);
    const auto end = std::find_if_not(begin, reason.end(), is_word);
    const std::string word{begin, end};
    if (word.empty()) {
      pattern += reason[i++];
      continue;
    }
    i += word.size();
    if (std::ranges::any_of(word, is_digit) && word.size() >= 8 && std::ranges::all_of(word, is_hex)) {
      pattern += '#';
      continue;
    }
    for (std::size_t j = 0; j < word.size(); ++j)
      if (!is_digit(word[j]))
        pattern += word[j];
      else if (j == 0 || !is_digit(word[j - 1]))
        pattern += '#';
  }
  return pattern;
}

}  // namespace

void LetterList::add(const DeadLetter& letter) {
  if (json_ && limit_ == 0) return tidings::print(letter_json(letter));
  if (json_)
    lines_.push_back(json_text(letter_json(letter)));
  else
    rows_.push_back(row_of(letter));
  if (limit_ > 0 && lines_.size() > limit_) lines_.pop_front();
  if (limit_ > 0 && rows_.size() > limit_) rows_.pop_front();
}

void LetterList::print() const {
  for (const auto& line : lines_) std::cout << line << '\n';
  if (json_) return;
  TextTable table{{"SEQ", "FAILED AT", "GROUP", "TYPE", "AGGREGATE", "ATTEMPTS", "REASON"}};
  table.insert(table.end(), rows_.begin(), rows_.end());
  print_table(table);
}

void LetterGroups::add(const DeadLetter& letter) {
  const auto& text = by_ == "reason" ? letter.reason : by_ == "type" ? letter.event.type : letter.group;
  auto pattern = by_ == "reason" ? pattern_of(text) : text;
  auto& count = counts_[pattern];
  if (count.letters++ == 0) {
    count.text = text;
    count.first_sequence = letter.sequence;
    count.oldest = letter.stored;
  } else if (count.text != text) {
    count.text = std::move(pattern);
  }
  count.last_sequence = letter.sequence;
  count.newest = letter.stored;
}

void LetterGroups::print(bool json) const {
  std::vector<const Count*> sorted;
  for (const auto& [pattern, count] : counts_) sorted.push_back(&count);
  std::ranges::stable_sort(sorted, std::greater{}, &Count::letters);
  TextTable table{{"COUNT", "OLDEST", "NEWEST", "LAST SEQ", by_}};
  for (auto& letter : table[0].back()) letter = static_cast<char>(letter - 'a' + 'A');
  for (const auto* count : sorted) {
    if (json)
      tidings::print({{by_ == "type" ? "eventType" : by_, tidings::or_null(count->text)},
                      {"count", count->letters},
                      {"firstSequence", count->first_sequence},
                      {"lastSequence", count->last_sequence},
                      {"oldest", to_iso8601(count->oldest)},
                      {"newest", to_iso8601(count->newest)}});
    else
      table.push_back({std::to_string(count->letters), to_iso8601(count->oldest), to_iso8601(count->newest),
                       std::to_string(count->last_sequence), shorten(printable(count->text), 100)});
  }
  if (!json) print_table(table);
}

void print_letter(const DeadLetter& letter, bool json) {
  auto whole = letter_json(letter);
  auto data = json_or_text(letter.data);
  if (json) {
    auto headers = Json::array();
    for (const auto& [name, value] : letter.headers) headers.push_back({name, value});
    whole["headers"] = std::move(headers);
    whole["data"] = std::move(data);
    return print(whole);
  }
  TextTable table;
  for (const auto& [name, value] : whole.items())
    table.push_back({name, value.is_null()     ? "-"
                           : value.is_string() ? printable(value.get<std::string>())
                                               : value.dump()});
  print_table(table);
  TextTable headers;
  for (const auto& [name, value] : letter.headers)
    headers.push_back({"  " + printable(name), printable(value)});
  std::cout << "headers\n";
  print_table(headers);
  std::cout << "data\n" << (data.is_string() ? printable(letter.data) : json_text(data, 2)) << '\n';
}

}  // namespace tidings
