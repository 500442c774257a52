#pragma once

// Decides when to pull, and for how much: each event moves the loop from one state to another, and its owner
// sends the requests. Does no I/O and reads no clock.

#include "consumer/group.hpp"
#include "consumer/handling_pace.hpp"
#include "nats/handle.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace tidings {

/// How far fetching reaches ahead of handling.
struct Prefetch {
  int messages;
  std::size_t bytes;   ///< of all messages in flight, approximately; one message may be larger
  int handlers = 1;    ///< that run side by side
  bool whole = false;  ///< all of it, however slow handlers are: nobody else takes any
};

struct PullRequest {
  int count = 0;
  std::chrono::nanoseconds expires{}, heartbeat{};
  std::optional<std::size_t> max_bytes;  ///< none: a single message of any size

  [[nodiscard]] std::string json() const;
};

/// What the server says about a pull request beside messages: heartbeats, the request's end, refusals
/// (ADR-37).
struct PullStatus {
  enum class Kind {
    heartbeat,
    ended,              ///< nothing came within the time, or not all of it
    completed,          ///< all that was asked for has come, in fewer bytes than allowed (from 2.10 on)
    too_large,          ///< the next message does not fit into the bytes of the request
    leadership_change,  ///< the request died with the durable's leader
    deleted,            ///< the durable is gone
    became_push,        ///< the durable is a push consumer now
    refused,            ///< the durable does not allow such a request
    no_responders,      ///< nobody serves the durable: JetStream is electing, or it is gone
    other,
  };

  Kind kind = Kind::other;
  std::optional<int> missing;  ///< messages of the request that did not come; older servers do not say
  std::string text;            ///< the description, for people

  /// `code` and `description` are the server's headers of those names, `pending` its Nats-Pending-Messages.
  [[nodiscard]] static PullStatus parse(std::string_view code, std::string_view description,
                                        std::string_view pending);
  [[nodiscard]] static PullStatus of(natsMsg* message);
};

class PullLoop {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Probing {};     ///< not answered yet since the group was joined, or since the connection was cut
  struct Steady {};      ///< answered
  struct Unanswered {};  ///< nobody answers
  struct Refused {       ///< not answered since the server refused a pull and the limits were looked up
    std::string reason;
  };
  struct MustRejoin {  ///< the server does not know the durable, or refuses what its known limits allow
    std::chrono::milliseconds after{};
    std::string refusal{};
  };
  struct Stopped {};  ///< for good
  using State = std::variant<Probing, Steady, Unanswered, Refused, MustRejoin, Stopped>;

  PullLoop(const Group& group, Prefetch prefetch, Time now);

  [[nodiscard]] const State& state() const noexcept { return state_; }
  template <class S>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<S>(state_);
  }
  /// Why the server refuses pulls, in its words; empty when it does not.
  [[nodiscard]] std::string refusal() const;

  // Events.
  void on_messages(std::size_t count, Time now);
  void on_status(const PullStatus& status, Time now);
  void on_silence();
  void on_expired() { expected_ = 0; }
  void on_new_leader(Time now);
  void on_reconnect();
  void on_deleted();
  void on_subscription_lost() { enter(MustRejoin{}); }  ///< a push consumer's, cut with the connection
  void on_filters_changed() { enter(MustRejoin{}); }
  void on_rejoined(const Group& group);
  void on_sent(const PullRequest& request, Time now);
  void on_not_sent(Time now);
  void on_settled(std::chrono::nanoseconds took) { pace_.add(took); }
  /// So many of the messages in flight wait for others of their keys, while a handler may be idle.
  void on_behind_their_keys(std::size_t count) { behind_their_keys_ = static_cast<int>(count); }
  /// Asks for so many messages and no more, of any size; with nothing, as many as there is room for.
  void on_missing(std::optional<int> missing) { missing_ = missing; }
  void stop() { state_ = Stopped{}; }

  /// Of what was asked for, something has not come yet.
  [[nodiscard]] bool expects_messages() const noexcept { return expected_ > 0; }
  /// When the last message, heartbeat or status came, or our own request was sent.
  [[nodiscard]] Time last_sign() const noexcept { return last_sign_; }
  /// True when pulls are due to be answered and nothing has come for too long.
  [[nodiscard]] bool silent(Time now) const;
  [[nodiscard]] std::chrono::milliseconds longest_silence() const;
  /// True when the latest pull must have ended some time ago, and the server has not said so.
  [[nodiscard]] bool expired(Time now) const;
  /// The request to be sent now, if there is one. So many messages, and so many bytes, are in flight.
  [[nodiscard]] std::optional<PullRequest> due(std::size_t in_flight, std::size_t bytes, Time now) const;
  /// As many messages as should be in flight.
  [[nodiscard]] int enough() const;
  /// So many bytes here leave no room for more.
  [[nodiscard]] bool full(std::size_t bytes) const noexcept { return bytes > prefetch_.bytes / 2; }
  /// How many messages in flight should go back to the group: what was asked for while handlers were fast may
  /// come when they are slow. 0 unless there have been far too many for three seconds: a handler that is slow
  /// once does not count.
  [[nodiscard]] std::size_t excess(std::size_t in_flight, Time now);
  /// The earliest time after `now` at which there may be something to do without an event; at most `latest`.
  [[nodiscard]] Time next_alarm(Time now, Time latest) const;

 private:
  enum class NextPull { bounded, of_any_size };

  [[nodiscard]] bool active() const noexcept { return !is<MustRejoin>() && !is<Stopped>(); }
  void enter(State state);
  void on_sign_of_life(Time now);
  void on_ended(const PullStatus& status);
  void pull_anew();
  void pause(std::chrono::milliseconds delay, Time now) { pull_again_ = now + delay; }

  State state_;
  Prefetch prefetch_;
  HandlingPace pace_;
  int behind_their_keys_ = 0;
  std::optional<int> missing_;
  std::optional<Time> too_many_since_;
  int max_request_batch_ = 0;
  std::chrono::nanoseconds max_expires_{};
  std::size_t max_bytes_ = 0;

  int expected_ = 0;  // messages asked for that have neither come nor been written off
  NextPull next_ = NextPull::bounded;
  Time last_sign_;     // the last message, heartbeat or status, or our own request
  Time pull_again_{};  // not before
  Time latest_end_{};  // of the pulls that were sent
};

}  // namespace tidings
