#pragma once

// Where messages come from: our own pull loop (ADR-37) on core NATS requests, or
// a push consumer's queue subscription. Fetching and decoding run ahead of handling,
// on nats.c's own thread.

#include "consumer/group.hpp"
#include "consumer/stream_message.hpp"
#include "consumer/waiting_events.hpp"
#include "nats/leader_advisories.hpp"

#include <tidings/connection.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidings {

struct Mailbox;

/// How far the source reaches ahead of handling.
struct Prefetch {
  int messages;
  std::size_t bytes;  ///< of all that is at hand, about; one message may be larger
};

/// What is seen of the group from here. Read by any thread.
struct GroupGauges {
  std::atomic<std::uint64_t> in_flight{0};  ///< at hand and not settled
  std::atomic<std::uint64_t> lag{0};        ///< on the stream, and handed to no instance yet
};

/// Belongs to one thread, but for wake().
class Puller {
 public:
  Puller(Connection& connection, Group group, std::string subject_prefix, Prefetch prefetch,
         GroupGauges& gauges, InFlight::MayExtend may_extend);
  ~Puller();
  Puller(const Puller&) = delete;
  Puller& operator=(const Puller&) = delete;

  /// Waits for messages, at most for `wait` and until woken, and returns up to `max` of those at hand.
  [[nodiscard]] std::vector<StreamMessagePtr> take(std::size_t max, std::chrono::milliseconds wait,
                                                   const std::stop_token& stop);
  /// Ends the running take(), or else the next. Thread-safe.
  void wake();

  // A message is settled once, by giving it to one of these.
  void ack(StreamMessagePtr received);
  void nak(StreamMessagePtr received, std::chrono::milliseconds delay = {});
  void terminate(StreamMessagePtr received);

  /// Given once when the server no longer knows the group's durable, or may not: join again after
  /// this long. Nothing is pulled before that.
  [[nodiscard]] std::optional<std::chrono::milliseconds> rejoin_after() noexcept {
    return std::exchange(rejoin_after_, std::nullopt);
  }

  /// The group as it was joined again: what may be asked for from now on.
  void use(Group group) { group_ = std::move(group); }

  /// While paused, no messages are asked for; some may still come.
  void pause(bool paused) noexcept { paused_ = paused; }
  [[nodiscard]] bool paused() const noexcept { return paused_; }

  /// The group has answered since it was joined or fell silent: only then is there nothing when nothing
  /// comes. A push consumer never answers.
  [[nodiscard]] bool answered() const noexcept { return heard_ || group_.push(); }

  /// Pulls have met silence, and still do.
  [[nodiscard]] bool unanswered() const noexcept { return unanswered_; }
  /// Why the server refuses pulls, in its words; empty when it does not.
  [[nodiscard]] const std::string& refused_pulls() const noexcept { return refused_pulls_; }

  /// No new messages; gives back to the group `not_started` and what was not taken. What was taken is kept
  /// alive until it is settled.
  void stop(std::chrono::steady_clock::time_point deadline, std::vector<StreamMessagePtr> not_started);
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

 private:
  void subscribe();
  [[nodiscard]] std::string listen(natsMsgHandler handler, natsSubscription** subscription);
  void notice_reconnect();
  void on_sign_of_life();
  void on_silence(const std::string& what);
  void pull_anew();
  void on_new_leader();
  bool wait_for_mail(bool want_messages, std::chrono::steady_clock::time_point until,
                     const std::stop_token& stop);
  void pull_if_due();
  void request(int count, bool of_any_size);
  void read_notices();
  void on_status(natsMsg* message, std::string_view status);
  void on_refused_pull(std::string_view description);
  void expect_less(natsMsg* message);
  void pause_pulling(std::chrono::milliseconds delay);
  void ask_for_state_if_due();
  void on_deletion();
  void on_state(natsMsg* answer);
  void warn_of_waiting_events();
  void end_subscription(std::chrono::steady_clock::time_point deadline);
  void settled(StreamMessagePtr received, MessagePtr message);

  Connection& connection_;
  Group group_;
  std::string created_;  // when the durable was, as far as the server has told
  Prefetch prefetch_;
  GroupGauges& gauges_;
  std::shared_ptr<Mailbox> mailbox_;
  natsSubscription* subscription_ = nullptr;  // both kept by the connection until it is closed
  natsSubscription* answers_ = nullptr;
  std::optional<LeaderAdvisories> elections_;
  std::string inbox_;         // where pulled messages come to
  std::string answer_inbox_;  // where the server tells the group's state

  std::deque<StreamMessagePtr> ready_;   // out of the mailbox, not taken yet
  std::vector<MessagePtr> notices_;      // of the mailbox, being read
  std::vector<MessagePtr> states_;       // the same
  std::vector<StreamMessagePtr> spare_;  // settled: their memory is used again
  DiscardedMessages discarded_;

  WaitingEvents waiting_;
  std::uint64_t open_ = 0;  // of the group, as last seen

  bool stopped_ = false;
  bool paused_ = false;
  bool unanswered_ = false;
  std::string refused_pulls_;
  bool new_leader_ = false;
  int requested_ = 0;              // asked for and neither taken nor written off
  bool larger_than_pull_ = false;  // the next message does not fit the bytes of a pull
  std::uint64_t generation_;
  bool heard_ = false;                               // the durable has answered since we joined
  std::chrono::steady_clock::time_point last_sign_;  // of life: message, heartbeat or request
  std::chrono::steady_clock::time_point pull_again_{};
  std::chrono::steady_clock::time_point ask_again_{};
  std::optional<std::chrono::milliseconds> rejoin_after_;
};

}  // namespace tidings
