#pragma once

// The flags by which dead letters are chosen.

#include "dead_letter_stream.hpp"

#include <CLI/CLI.hpp>

#include <string>

namespace tidings {

struct LetterFilterFlags {
  std::string group, type, aggregate, since, reason;

  void add_to(CLI::App& command);
  [[nodiscard]] bool given() const;
  [[nodiscard]] DeadLetterFilter read() const;
};

}  // namespace tidings
