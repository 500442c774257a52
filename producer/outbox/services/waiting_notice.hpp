#pragma once

#include <tidings/database.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace tidings {

/// Tells those who ask how the outbox stands that its processor waits for NATS, until it is destroyed. A
/// database that cannot be written is no reason not to wait. Not thread-safe.
class WaitingNotice {
 public:
  explicit WaitingNotice(std::string database_url) : database_url_(std::move(database_url)) {}
  ~WaitingNotice();
  WaitingNotice(const WaitingNotice&) = delete;
  WaitingNotice& operator=(const WaitingNotice&) = delete;

  /// To be called again and again while it waits; writes every few seconds.
  void tell(const std::string& why);

 private:
  const std::string database_url_;
  const Timestamp since_ = now();
  std::optional<std::chrono::steady_clock::time_point> told_at_;
  std::unique_ptr<Database> database_;  // once something was written
};

}  // namespace tidings
