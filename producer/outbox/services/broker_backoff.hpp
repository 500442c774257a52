#pragma once

// What a session keeps of transient errors of the broker: until when it sends nothing, or nothing of suspect
// subjects, and when it looks at the stream again. Knows no clock.

#include <tidings/uuid.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace tidings {

/// Each event that it is told of may change all of this. At first nothing is paused, and the stream is to be
/// looked at.
class BrokerBackoff {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // What has happened.

  /// The server may be another: it is tried at once, and so is its stream.
  void on_reconnected(Time now);
  /// It begins soon, and may know no batches.
  void on_new_leader(Time now);
  void on_stored() noexcept { failures_ = 0; }
  /// Pauses everything, each time for longer; false while that is paused already.
  bool on_transient_error(Time now);
  /// The broker takes no event of a suspect subject, and there are none of others: pauses those.
  void on_suspects_only(Time now);
  /// The stream may have been deleted, or allow batches no more.
  void on_doubt_of_stream(Time now);
  void on_stream_checked() noexcept { check_stream_at_.reset(); }

  // What may be done.

  [[nodiscard]] bool is_paused(Time now) const noexcept { return now < paused_until_; }
  [[nodiscard]] Time paused_until() const noexcept { return paused_until_; }
  [[nodiscard]] bool may_send_suspects(Time now) const noexcept { return now >= suspects_paused_until_; }
  [[nodiscard]] Time suspects_paused_until() const noexcept { return suspects_paused_until_; }
  [[nodiscard]] bool is_stream_check_due(Time now) const noexcept {
    return check_stream_at_ && now >= *check_stream_at_;
  }

 private:
  [[nodiscard]] Time next_try(Time now);

  /// It differs in each relay, so that those which lost the same server do not come back to it at the same
  /// moment.
  const std::string key_ = new_uuid();
  int failures_ = 0;  // since the stream last stored an event
  Time paused_until_{}, suspects_paused_until_{};
  std::optional<Time> check_stream_at_ = Time{};  // empty when it was checked
};

}  // namespace tidings
