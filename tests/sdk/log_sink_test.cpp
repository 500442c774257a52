#include "support/catch.hpp"
#include "support/log.hpp"

#include <tidings/log_sink.hpp>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("lines of the log go to the application's sink, from its level on") {
  const Log former;
  std::vector<std::pair<LogLevel, std::string>> lines;
  set_log_sink([&lines](LogLevel level, std::string_view line) { lines.emplace_back(level, line); },
               LogLevel::warning);
  spdlog::info("left out");
  spdlog::warn("retry id={}", 7);
  spdlog::error("dead letter");
  set_log_sink([&lines](LogLevel level, std::string_view line) { lines.emplace_back(level, line); });
  spdlog::debug("left out");
  spdlog::info("made group=mailer");
  set_log_sink({});
  spdlog::info("as before");
  using Lines = decltype(lines);
  CHECK(lines == Lines{{LogLevel::warning, "retry id=7"},
                       {LogLevel::error, "dead letter"},
                       {LogLevel::info, "made group=mailer"}});
  CHECK_THAT(former.text(), ContainsSubstring("as before") && !ContainsSubstring("dead letter"));
}

TEST_CASE("a sink that throws loses its line, and nothing else") {
  const Log former;
  int lines = 0;
  set_log_sink([&lines](LogLevel, std::string_view) {
    if (++lines == 1) throw std::runtime_error("the disk is full");
  });
  CHECK_NOTHROW(spdlog::warn("one"));
  CHECK_NOTHROW(spdlog::warn("two"));
  set_log_sink({});
  CHECK(lines == 2);
}
