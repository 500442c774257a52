#pragma once

// Where messages come from: our own pull loop (ADR-37) on core NATS requests, or a push consumer's queue
// subscription. Fetching and decoding run ahead of handling, on nats.c's own thread.

#include "consumer/group.hpp"
#include "consumer/mailbox.hpp"
#include "consumer/pull_loop.hpp"
#include "consumer/stream_message.hpp"
#include "nats/leader_advisories.hpp"
#include "nats/subscription.hpp"

#include <tidings/connection.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

/// Belongs to one thread, but for wake().
class Puller {
 public:
  Puller(Connection& connection, Group group, std::string subject_prefix, Prefetch prefetch,
         GroupGauges& gauges, InFlight::MayExtend may_extend);

  /// Waits for messages, at most for `wait` and until woken, and returns up to `max` of those that are here.
  [[nodiscard]] std::vector<StreamMessagePtr> take(std::size_t max, std::chrono::milliseconds wait,
                                                   const std::stop_token& stop);
  /// Ends the running take(), or else the next. Thread-safe.
  void wake() { mailbox_->wake(); }

  // A message is settled once, by giving it to one of these.
  void ack(StreamMessagePtr message) { settle(std::move(message), {Acknowledgement::Kind::ack}); }
  void nak(StreamMessagePtr message, std::chrono::milliseconds delay = {}) {
    settle(std::move(message), {Acknowledgement::Kind::nak, delay});
  }
  void terminate(StreamMessagePtr message) { settle(std::move(message), {Acknowledgement::Kind::terminate}); }

  /// Set when the server may no longer know the group's durable: join again after this long, and call use().
  /// Nothing is pulled before that.
  [[nodiscard]] std::optional<std::chrono::milliseconds> rejoin_after() const noexcept;
  /// The group as joined again, with what may be asked for from now on.
  void use(Group group);

  // These bound what is fetched ahead.
  void settled_in(std::chrono::nanoseconds took) { loop_.on_settled(took); }
  void behind_their_keys(std::size_t count) { loop_.on_behind_their_keys(count); }
  /// As many messages as should be in flight.
  [[nodiscard]] int enough() const { return loop_.enough(); }
  /// How many messages should go back to the group, as PullLoop::excess(). A push consumer's would come here
  /// again at once.
  [[nodiscard]] std::size_t excess();
  /// Those of them that were not taken; the latest ones, since what comes again comes before what is new.
  [[nodiscard]] std::vector<StreamMessagePtr> take_excess();

  /// While paused, no messages are asked for; some may still come.
  void pause(bool paused) noexcept { paused_ = paused; }

  // For an order that is strict.

  /// Called for each message that is settled, with its sequence on the stream.
  void on_settled(std::function<void(std::uint64_t)> action) { on_settled_ = std::move(action); }
  /// As PullLoop::on_missing().
  void ask_for_missing(std::optional<int> missing) { loop_.on_missing(missing); }
  /// No more is asked for, since what is here has as many bytes as it may.
  [[nodiscard]] bool full() const { return loop_.full(mailbox_->in_flight.bytes()); }
  void ask_for_state() { ask_for_state_again_ = {}; }
  /// What the server has told since the last call.
  [[nodiscard]] std::optional<GroupState> take_state() { return std::exchange(state_, std::nullopt); }
  /// How often the connection was cut, the group's leader changed or the group was joined again.
  [[nodiscard]] std::uint64_t disturbances() const noexcept { return disturbances_; }
  /// As InFlight.
  void never_lapse() noexcept { mailbox_->in_flight.never_lapse(); }

  /// Of the durable, as the server has last told.
  [[nodiscard]] std::chrono::milliseconds ack_wait() const noexcept { return group_.ack_wait; }

  /// Every stream sequence up to here is settled, as the server has told within the last ten seconds or so.
  [[nodiscard]] std::uint64_t settled_to() const noexcept { return settled_to_; }

  /// The group has answered since it was joined or fell silent. Before that, the fact that no message comes
  /// does not mean that there is none. A push consumer answers nothing, and always counts as answering.
  [[nodiscard]] bool answered() const noexcept { return loop_.is<PullLoop::Steady>() || group_.push(); }
  /// Pulls have met silence, and still do.
  [[nodiscard]] bool unanswered() const noexcept { return loop_.is<PullLoop::Unanswered>(); }
  /// Why the server refuses pulls, in its words; empty when it does not.
  [[nodiscard]] std::string refused_pulls() const { return loop_.refusal(); }

  /// No new messages; gives back to the group `not_started` and what was not taken. What was taken is kept
  /// alive until it is settled.
  void stop(std::chrono::steady_clock::time_point deadline, std::vector<StreamMessagePtr> not_started);
  [[nodiscard]] bool stopped() const noexcept { return loop_.is<PullLoop::Stopped>(); }

 private:
  using Time = PullLoop::Time;

  void notice_reconnect();
  void pull_if_due();
  void warn_of_silence(const std::string& what);
  void ask_for_state_if_due();
  [[nodiscard]] std::string subject_of(const char* what) const;
  bool request(const char* what, const std::string& body, const std::string& inbox);
  /// True when woken.
  bool read_mail(bool want_messages, Time deadline, const std::stop_token& stop);
  void on_messages();
  void on_status(const PullStatus& status);
  void on_group_state(const GroupState& state);
  void on_deleted();
  void settle(StreamMessagePtr message, Acknowledgement acknowledgement);
  void let_pull_be_served(Time deadline);
  void drain(Time deadline);

  Connection& connection_;
  Group group_;
  GroupGauges& gauges_;
  /// It outlives us for a moment, since a message that races the end of its subscription must still find it.
  std::shared_ptr<Mailbox> mailbox_;
  struct Close {
    void operator()(Mailbox* mailbox) const { mailbox->close(); }
  };
  const std::unique_ptr<Mailbox, Close> open_{mailbox_.get()};  // until the subscriptions have ended
  const std::string inbox_, state_inbox_;  // subjects of our own, for pulled messages and the group's state
  Subscription messages_;
  Subscription states_;
  std::optional<LeaderAdvisories> advisories_;
  Connection::Observation reconnects_;
  PullLoop loop_;
  bool paused_ = false;       // by the owner, whatever the loop's state
  std::uint64_t generation_;  // of the connection that pulls were sent on
  Time ask_for_state_again_{};
  std::function<void(std::uint64_t)> on_settled_;
  std::optional<GroupState> state_;
  std::uint64_t disturbances_ = 0;
  std::optional<Timestamp> created_;  // when the durable was made
  std::uint64_t settled_to_;          // as the server has last told

  Mail mail_;                            // being read
  std::deque<StreamMessagePtr> ready_;   // out of the mailbox, not taken yet
  std::vector<StreamMessagePtr> spare_;  // settled: their memory is used again
  DiscardedMessages discarded_;
};

}  // namespace tidings
