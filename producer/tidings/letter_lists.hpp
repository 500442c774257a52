#pragma once

// How dead letters are shown: one by one, one whole, or those alike counted.

#include "dead_letter_stream.hpp"
#include "printing.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace tidings {

/// With a limit, the newest of them. Prints JSON as it comes where it can.
class LetterList {
 public:
  /// 0: no limit.
  LetterList(std::size_t limit, bool json) : limit_(limit), json_(json) {}

  void add(const DeadLetter& letter);
  void print() const;

 private:
  const std::size_t limit_;
  const bool json_;
  std::deque<std::string> lines_;
  std::deque<std::vector<std::string>> rows_;
};

/// Reasons that differ in numbers and ids only are alike.
class LetterGroups {
 public:
  /// `reason`, `type` or `group`.
  explicit LetterGroups(std::string by) : by_(std::move(by)) {}

  void add(const DeadLetter& letter);
  void print(bool json) const;

 private:
  struct Count {
    std::string text;  ///< of the first one, or what is the same in all
    std::uint64_t letters = 0, first_sequence = 0, last_sequence = 0;
    Timestamp oldest{}, newest{};
  };

  const std::string by_;
  std::map<std::string, Count> counts_;
};

void print_letter(const DeadLetter& letter, bool json);

}  // namespace tidings
