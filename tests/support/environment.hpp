#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

namespace tidings::test {

/// Empty when it is not set.
inline std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string{} : value;
}

/// An environment variable of this process, set (or unset) while this object lives. Not for use
/// while other threads read the environment.
class EnvironmentVariable {
 public:
  EnvironmentVariable(std::string name, const std::optional<std::string>& value) : name_(std::move(name)) {
    if (const char* text = std::getenv(name_.c_str())) before_ = text;
    assign(value);
  }
  ~EnvironmentVariable() { assign(before_); }
  EnvironmentVariable(const EnvironmentVariable&) = delete;
  EnvironmentVariable& operator=(const EnvironmentVariable&) = delete;

 private:
  void assign(const std::optional<std::string>& value) const {
    if (value)
      ::setenv(name_.c_str(), value->c_str(), 1);
    else
      ::unsetenv(name_.c_str());
  }

  std::string name_;
  std::optional<std::string> before_;
};

}  // namespace tidings::test
