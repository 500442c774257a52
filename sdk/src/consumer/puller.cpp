#include "consumer/puller.hpp"

#include "nats/handle.hpp"
#include "nats/jetstream_request.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// Between looks at the group's state: its lag, and whether it is there at all.
constexpr std::chrono::seconds state_interval{10};
// After its first restart the server says another time for the same durable (2.9.10: 0.2 ms later).
constexpr milliseconds same_durable{100};
constexpr milliseconds short_wait{250};   // for messages that a stop can do without
constexpr milliseconds served_after{20};  // nothing has come for so long

}  // namespace

Puller::Puller(Connection& connection, Group group, std::string subject_prefix, Prefetch prefetch,
               GroupGauges& gauges, InFlight::MayExtend may_extend)
    : connection_(connection),
      group_(std::move(group)),
      gauges_(gauges),
      mailbox_(std::make_shared<Mailbox>(native(connection), group_.ack_wait, std::move(subject_prefix),
                                         gauges.in_flight, std::move(may_extend))),
      inbox_(connection.new_inbox()),
      state_inbox_(connection.new_inbox()),
      messages_(connection, group_.push() ? group_.deliver_subject : inbox_, Mailbox::deliver, mailbox_,
                group_.deliver_group),
      states_(connection, state_inbox_, Mailbox::deliver_state, mailbox_),
      loop_(group_, prefetch, steady_clock::now()),
      generation_(connection.generation()),
      settled_to_(group_.settled_to) {
  // The prefetch is the bound; nats.c's own would drop messages.
  natsSubscription_SetPendingLimits(messages_.get(), -1, -1);
  if (!group_.push())
    advisories_.emplace(connection, group_.stream, group_.durable,
                        [mailbox = mailbox_] { mailbox->tell_of_new_leader(); });
  // By the thread that delivers: ours may be in a handler for as long as the others' AckWaits last.
  mailbox_->on_lapse([connection = native(connection), subject = subject_of("INFO"), inbox = state_inbox_] {
    natsConnection_PublishRequest(connection, subject.c_str(), inbox.c_str(), nullptr, 0);
  });
  // Pull again as soon as the connection is back.
  reconnects_ = connection.observe([mailbox = mailbox_](bool) { mailbox->wake(); });
}

std::vector<StreamMessagePtr> Puller::take(std::size_t max, milliseconds wait, const std::stop_token& stop) {
  std::vector<StreamMessagePtr> taken;
  const auto deadline = steady_clock::now() + wait;
  bool woken = false;
  while (taken.empty() && !woken) {
    notice_reconnect();
    if (rejoin_after()) return taken;
    pull_if_due();
    ask_for_state_if_due();
    woken = read_mail(max > 0, deadline, stop);
    const auto count = static_cast<std::ptrdiff_t>(std::min(max, ready_.size()));
    std::move(ready_.begin(), ready_.begin() + count, std::back_inserter(taken));
    ready_.erase(ready_.begin(), ready_.begin() + count);
    if (stop.stop_requested() || rejoin_after() || steady_clock::now() >= deadline) break;
  }
  pull_if_due();
  return taken;
}

void Puller::notice_reconnect() {
  if (stopped() || !connection_.connected() || generation_ == connection_.generation()) return;
  generation_ = connection_.generation();
  ++disturbances_;
  if (group_.push()) return loop_.on_subscription_lost();
  loop_.on_reconnect();
  ask_for_state_again_ = {};
}

void Puller::pull_if_due() {
  if (paused_ || group_.push() || !connection_.connected()) return;
  const auto now = steady_clock::now();
  // After a slow batch, signs of life may be waiting to be read.
  const auto all_is_read = [this] { return ready_.empty() && !mailbox_->has_messages_or_statuses(); };
  if (loop_.expired(now) && all_is_read()) loop_.on_expired();
  if (loop_.silent(now) && all_is_read()) {
    warn_of_silence("silence for " + std::to_string(loop_.longest_silence().count()) + " ms");
    loop_.on_silence();
    ask_for_state_again_ = {};
  }
  // What was taken and is not settled counts as well: behind a slow handler, that is most of it.
  const auto due = loop_.due(gauges_.in_flight, mailbox_->in_flight.bytes(), now);
  if (!due) return;
  if (request("MSG.NEXT", due->json(), inbox_))
    loop_.on_sent(*due, steady_clock::now());
  else
    loop_.on_not_sent(steady_clock::now());
}

std::size_t Puller::excess() {
  return group_.push() ? 0 : loop_.excess(gauges_.in_flight, steady_clock::now());
}

std::vector<StreamMessagePtr> Puller::take_excess() {
  const auto count = std::min(excess(), ready_.size());
  if (count > 0) spdlog::debug("gives back {} messages group={}: handlers are slow", count, group_.durable);
  const auto first = ready_.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<StreamMessagePtr> taken(std::make_move_iterator(first), std::make_move_iterator(ready_.end()));
  ready_.erase(first, ready_.end());
  return taken;
}

/// Warns once for each silence, however long it lasts, and not when its reason was logged already.
void Puller::warn_of_silence(const std::string& what) {
  if (unanswered() || stopped() || rejoin_after() || !refusal_of_group(connection_, group_.durable).empty())
    return;
  spdlog::warn("pull unanswered group={}: {}, pulling again", group_.durable, what);
}

void Puller::ask_for_state_if_due() {
  const auto now = steady_clock::now();
  if (stopped() || now < ask_for_state_again_ || !connection_.connected()) return;
  ask_for_state_again_ = now + state_interval;
  request("INFO", {}, state_inbox_);
}

std::string Puller::subject_of(const char* what) const {
  return api_subject(connection_,
                     std::string("CONSUMER.") + what + "." + group_.stream + "." + group_.durable);
}

/// Nobody waits for the answers: they come to `inbox`, and so into the mailbox.
bool Puller::request(const char* what, const std::string& body, const std::string& inbox) {
  const auto subject = subject_of(what);
  return natsConnection_PublishRequest(native(connection_), subject.c_str(), inbox.c_str(), body.data(),
                                       static_cast<int>(body.size())) == NATS_OK;
}

bool Puller::read_mail(bool want_messages, Time deadline, const std::stop_token& stop) {
  mailbox_->reuse(spare_);
  mail_.clear();
  Time until{};  // at once
  if (!want_messages || ready_.empty()) {
    const auto now = steady_clock::now();
    until = loop_.next_alarm(now, deadline);
    if (ask_for_state_again_ > now) until = std::min(until, ask_for_state_again_);
  }
  using enum Mailbox::Until;
  mailbox_->collect(mail_, want_messages ? anything : anything_but_messages, until, stop);
  const bool waited_in_vain = unanswered();
  if (!mail_.messages.empty()) on_messages();
  if (mail_.new_leader) {
    spdlog::debug("new leader group={}", group_.durable);
    ++disturbances_;
    loop_.on_new_leader(steady_clock::now());
    ask_for_state_again_ = {};
  }
  for (const auto& status : mail_.statuses) on_status(PullStatus::of(status.get()));
  if (waited_in_vain && answered()) spdlog::info("pulls are answered again group={}", group_.durable);
  for (const auto& state : mail_.states)
    on_group_state(GroupState::parse(
        {natsMsg_GetData(state.get()), static_cast<std::size_t>(natsMsg_GetDataLength(state.get()))}));
  return mail_.woken;
}

/// What is handed out again goes before later events that wait here.
void Puller::on_messages() {
  loop_.on_messages(mail_.messages.size(), steady_clock::now());
  gauges_.lag = mail_.messages.back()->pending;
  const bool again = std::ranges::any_of(mail_.messages,
                                         [](const auto& message) { return message->delivery.delivered > 1; });
  std::move(mail_.messages.begin(), mail_.messages.end(), std::back_inserter(ready_));
  mail_.messages.clear();
  if (again)
    std::ranges::stable_sort(ready_, {},
                             [](const auto& message) { return message->delivery.stream_sequence; });
}

void Puller::on_status(const PullStatus& status) {
  using Kind = PullStatus::Kind;
  if (status.kind != Kind::heartbeat) spdlog::debug("pull status group={} {}", group_.durable, status.text);
  if (status.kind == Kind::deleted) return on_deleted();
  if (status.kind == Kind::refused && refused_pulls() != status.text)
    spdlog::warn("pull refused group={}: {}; looking up its limits", group_.durable, status.text);
  if (status.kind == Kind::no_responders) {
    warn_of_silence("nobody serves it");
    ask_for_state_again_ = {};
  }
  loop_.on_status(status, steady_clock::now());
}

/// The server tells of a push consumer's end in no other way.
void Puller::on_group_state(const GroupState& state) {
  if (state.kind == GroupState::Kind::deleted) return on_deleted();
  if (state.kind == GroupState::Kind::unknown) return;
  const auto before = std::exchange(created_, state.created);
  if (before && created_ && std::chrono::abs(*created_ - *before) > same_durable)
    return on_deleted();  // it was made again
  gauges_.lag = state.num_pending;
  state_ = state;
  settled_to_ = state.settled_to;
  if (state.filters && state.filters != group_.filters) loop_.on_filters_changed();
  if (state.ack_wait.count() == 0 || state.ack_wait == group_.ack_wait) return;
  spdlog::warn("ack_wait of the group {} was changed from {} ms to {} ms", group_.durable,
               group_.ack_wait.count(), state.ack_wait.count());
  group_.ack_wait = state.ack_wait;
}

void Puller::on_deleted() {
  mailbox_->in_flight.disown();
  created_.reset();
  loop_.on_deleted();
}

std::optional<milliseconds> Puller::rejoin_after() const noexcept {
  const auto* rejoin = std::get_if<PullLoop::MustRejoin>(&loop_.state());
  return rejoin != nullptr ? std::optional{rejoin->after} : std::nullopt;
}

void Puller::use(Group group) {
  group_ = std::move(group);
  ++disturbances_;
  state_.reset();
  settled_to_ = group_.settled_to;
  created_.reset();  // a late answer about the durable before it may have set it again
  mailbox_->in_flight.use(group_.ack_wait);
  loop_.on_rejoined(group_);
}

void Puller::settle(StreamMessagePtr message, Acknowledgement acknowledgement) {
  if (on_settled_) on_settled_(message->delivery.stream_sequence);
  discarded_.add(std::move(*message).settle(acknowledgement));
  spare_.push_back(std::move(message));
}

void Puller::stop(Time deadline, std::vector<StreamMessagePtr> not_started) {
  if (connection_.connected() && !group_.push()) let_pull_be_served(deadline);
  loop_.stop();
  if (connection_.connected()) drain(deadline);
  for (auto& message : not_started) nak(std::move(message));
  for (auto& message : ready_) nak(std::move(message));
  ready_.clear();
  mail_.clear();
  mailbox_->collect(mail_, Mailbox::Until::anything, {}, {});
  for (auto& message : mail_.messages) nak(std::move(message));
  mail_.clear();
}

/// Until 2.10.27 (seen in 2.9.10 to 2.10.0) the server takes a message that is to be handed out again for a
/// request that nobody listens for any more, and forgets it for a whole AckWait. So a request that has just
/// been sent gets the time to be served.
void Puller::let_pull_be_served(Time deadline) {
  const auto latest = std::min(deadline, steady_clock::now() + short_wait);
  for (;;) {
    const auto until = std::min(loop_.last_sign() + served_after, latest);
    if (!loop_.expects_messages() || steady_clock::now() >= until) return;
    mail_.clear();
    mailbox_->collect(mail_, Mailbox::Until::anything, until, {});
    if (!mail_.messages.empty()) on_messages();
  }
}

/// Has the server send no more; what is on its way still comes.
void Puller::drain(Time deadline) {
  const auto left = [deadline] {
    return std::max<int64_t>(1, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count());
  };
  // Draining tells the server to send no more, and still delivers what is on its way; a bare
  // unsubscribe would drop that, and it would be missing for a whole AckWait.
  if (natsSubscription_DrainTimeout(messages_.get(), left()) == NATS_OK)
    natsSubscription_WaitForDrainCompletion(messages_.get(), left());
  if (group_.push()) return;
  // Asked for its state, the server drops requests that nobody listens for, before it can take a message that
  // we give back for one of them.
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = left();
  jsConsumerInfo* info = nullptr;
  js_GetConsumerInfo(&info, jetstream(connection_), group_.stream.c_str(), group_.durable.c_str(), &options,
                     nullptr);
  jsConsumerInfo_Destroy(info);
}

}  // namespace tidings
