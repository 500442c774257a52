#pragma once

// Registers the users of a JSONL stream, some to a commit. A line that cannot be
// accepted is named on stderr and does not hold up the rest.

#include "auth_service.hpp"
#include "line_reader.hpp"

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace tidings {

struct ImportResult {
  std::uint64_t registered = 0;
  std::uint64_t refused = 0;
  std::uint64_t last_line = 0;  ///< everything up to here is committed or refused
  bool stopped = false;         ///< asked to stop before the end of the input
  std::chrono::duration<double> took{};
};

class UserImport {
 public:
  /// A line longer than this is refused; far more than a legal e-mail address and name need.
  static constexpr std::size_t max_line = 64 * 1024;

  /// `batch` users a commit, at least 1.
  UserImport(AuthService& service, std::size_t batch);

  /// Reads to the end, or until `stop`: then what was read is committed, and no more is read.
  /// Throws DatabaseError, saying up to which line users are registered.
  ImportResult run(LineReader& lines, const std::stop_token& stop);

 private:
  /// A line that waits for the next commit, in the order of the input.
  struct Pending {
    std::uint64_t line;
    std::string error;  ///< empty when it is one of `registrations_`
  };

  void take(std::uint64_t line, const std::string& text);
  void refuse(std::uint64_t line, std::string error);
  void commit(const std::stop_token& stop);
  std::vector<AuthService::Outcome> register_with_retries(const std::stop_token& stop);
  void report_refused(std::uint64_t line, const std::string& error);
  void show_progress(bool last);
  [[nodiscard]] std::chrono::duration<double> elapsed() const;

  AuthService& service_;
  std::size_t batch_;
  std::vector<Registration> registrations_;
  std::vector<Pending> pending_;
  ImportResult result_;
  bool terminal_;
  bool progress_shown_ = false;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point next_progress_ = started_;
};

}  // namespace tidings
