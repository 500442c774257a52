#include "user_import.hpp"

#include "registration_json.hpp"

#include <tidings/error.hpp>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <utility>

namespace tidings {
namespace {

constexpr int commit_tries = 5;  // each waits for the lock as long as the database's busy timeout
constexpr std::chrono::milliseconds progress_interval{100};

/// False when `stop` came first.
bool pause(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock{mutex};
  wake.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

bool blank(const std::string& text) { return text.find_first_not_of(" \t\r") == std::string::npos; }

}  // namespace

UserImport::UserImport(AuthService& service, std::size_t batch)
    : service_(service), batch_(batch), terminal_(isatty(STDERR_FILENO) == 1) {}

ImportResult UserImport::run(LineReader& lines, const std::stop_token& stop) {
  std::string text;
  for (bool more = true; more;) {
    switch (lines.next(text, stop)) {
      case LineReader::Result::line:
        take(lines.line_number(), text);
        break;
      case LineReader::Result::too_long:
        refuse(lines.line_number(), "longer than " + std::to_string(max_line) + " bytes");
        break;
      // Whoever feeds a pipe slowly must not wait for a batch to fill up.
      case LineReader::Result::idle:
        commit(stop);
        break;
      case LineReader::Result::stopped:
        result_.stopped = true;
        [[fallthrough]];
      case LineReader::Result::end:
        commit(stop);
        more = false;
    }
    if (pending_.size() >= batch_) commit(stop);
  }
  show_progress(true);
  result_.took = elapsed();
  return result_;
}

void UserImport::take(std::uint64_t line, const std::string& text) {
  if (blank(text)) return;
  try {
    registrations_.push_back(parse_registration(text));
    pending_.push_back({line, {}});
  } catch (const InvalidRegistration& error) {
    refuse(line, error.what());
  }
}

void UserImport::refuse(std::uint64_t line, std::string error) {
  pending_.push_back({line, std::move(error)});
}

void UserImport::commit(const std::stop_token& stop) {
  const auto outcomes =
      registrations_.empty() ? std::vector<AuthService::Outcome>{} : register_with_retries(stop);
  auto outcome = outcomes.begin();
  for (const auto& [line, error] : pending_) {
    const auto& refusal = error.empty() ? (outcome++)->error : error;
    if (refusal.empty())
      ++result_.registered;
    else
      report_refused(line, refusal);
    result_.last_line = line;
  }
  pending_.clear();
  registrations_.clear();
  show_progress(false);
}

std::vector<AuthService::Outcome> UserImport::register_with_retries(const std::stop_token& stop) {
  std::chrono::milliseconds delay{100};
  for (int attempt = 1;; ++attempt) {
    try {
      return service_.register_users(registrations_);
    } catch (const DatabaseError& error) {
      if (!error.retryable() || attempt == commit_tries || !pause(delay, stop)) {
        show_progress(true);
        throw DatabaseError(std::string(error.what()) +
                            " (registered so far: " + std::to_string(result_.registered) + ", up to line " +
                            std::to_string(result_.last_line) + ")");
      }
      spdlog::warn("commit failed, trying again attempt={} error={}", attempt, error.what());
      delay *= 2;
    }
  }
}

void UserImport::report_refused(std::uint64_t line, const std::string& error) {
  ++result_.refused;
  std::fprintf(stderr, "%sline %llu: %s\n", progress_shown_ ? "\r\033[K" : "",
               static_cast<unsigned long long>(line), error.c_str());
  progress_shown_ = false;
}

void UserImport::show_progress(bool last) {
  if (!terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  if (last) {
    if (std::exchange(progress_shown_, false)) std::fputs("\r\033[K", stderr);
    return;
  }
  if (now < next_progress_) return;
  next_progress_ = now + progress_interval;
  progress_shown_ = true;
  std::fprintf(stderr, "\r\033[Kregistered %llu, refused %llu, %.0f/s",
               static_cast<unsigned long long>(result_.registered),
               static_cast<unsigned long long>(result_.refused),
               static_cast<double>(result_.registered) / elapsed().count());
  std::fflush(stderr);
}

std::chrono::duration<double> UserImport::elapsed() const {
  return std::chrono::steady_clock::now() - started_;
}

}  // namespace tidings
