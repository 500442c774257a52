#include <tidings/log_sink.hpp>

#include <cstdio>
#include <string>

void log_by_the_application() {
  tidings::set_log_sink(
      [](tidings::LogLevel level, std::string_view line) {
        if (level == tidings::LogLevel::error) std::puts(std::string{line}.c_str());
      },
      tidings::LogLevel::warning);
}
