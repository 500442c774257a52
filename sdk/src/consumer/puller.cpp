#include "consumer/puller.hpp"

#include "consumer/mailbox.hpp"
#include "nats/native.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <mutex>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

/// What a pull asks for: how long it lasts, how often the server shows life while it has no messages,
/// and after what silence the pull is taken for lost. One that is wrongly taken for lost stays open on the
/// server until it expires: the shorter, the less can come that is too much.
struct Pace {
  milliseconds expires, heartbeat, missed;
};
// Silence is noticed before a group whose leader is gone can have another (4 to 9 s).
constexpr Pace steady{milliseconds{10000}, milliseconds{1500}, milliseconds{4000}};
// A pull that meets no leader, or a durable that can be looked up and does not listen yet, is dropped
// without a word (2.9.10): until one has been answered, ask for quick signs.
constexpr Pace probing{milliseconds{1000}, milliseconds{250}, milliseconds{500}};
// The server tells of a group's deletion before it has finished it (2.9.10): a group that is made again
// at once would be deleted with it.
constexpr milliseconds deletion_takes{200};
// Between a refused pull and a look at the group's limits, which may still be edited.
constexpr seconds refusal_pause{1};
// Between looks at the group's state: its lag, and whether it is there at all.
constexpr seconds state_interval{10};

std::string_view header_value(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK && value != nullptr ? value : std::string_view{};
}

}  // namespace

Puller::Puller(Connection& connection, Group group, std::string subject_prefix, Prefetch prefetch,
               GroupGauges& gauges, InFlight::MayExtend may_extend)
    : connection_(connection),
      group_(std::move(group)),
      prefetch_(prefetch),
      gauges_(gauges),
      mailbox_(std::make_shared<Mailbox>(native(connection), group_.ack_wait, std::move(subject_prefix),
                                         gauges.in_flight, std::move(may_extend))),
      generation_(connection.generation()),
      last_sign_(steady_clock::now()) {
  subscribe();
  // Pull again as soon as the connection is back.
  connection_.observe([mailbox = mailbox_](bool) { mailbox->wake(); });
}

Puller::~Puller() {
  connection_.observe({});
  natsSubscription_Unsubscribe(subscription_);
  natsSubscription_Unsubscribe(answers_);
  mailbox_->at_hand.stop();
}

void Puller::subscribe() {
  if (group_.push()) {
    check(natsConnection_QueueSubscribe(&subscription_, native(connection_), group_.deliver_subject.c_str(),
                                        group_.deliver_group.c_str(), Mailbox::deliver, mailbox_.get()),
          "join the deliver group " + group_.deliver_group);
  } else {
    inbox_ = listen(Mailbox::deliver, &subscription_);
    elections_.emplace(connection_, group_.stream, group_.durable,
                       [mailbox = mailbox_] { mailbox->tell_of_new_leader(); });
  }
  answer_inbox_ = listen(Mailbox::answer, &answers_);
  // The prefetch is the bound; nats.c's own would drop messages.
  natsSubscription_SetPendingLimits(subscription_, -1, -1);
  // A message that races the subscription's end must still find it and the mailbox.
  for (auto* subscription : {subscription_, answers_})
    connection_.keep(std::shared_ptr<void>(subscription, [mailbox = mailbox_](void* held) {
      natsSubscription_Destroy(static_cast<natsSubscription*>(held));
    }));
}

/// Returns the subject, which is ours alone.
std::string Puller::listen(natsMsgHandler handler, natsSubscription** subscription) {
  auto subject = connection_.new_inbox();
  check(natsConnection_Subscribe(subscription, native(connection_), subject.c_str(), handler, mailbox_.get()),
        "subscribe for what the server sends us");
  return subject;
}

std::vector<StreamMessagePtr> Puller::take(std::size_t max, milliseconds wait, const std::stop_token& stop) {
  std::vector<StreamMessagePtr> taken;
  const auto deadline = steady_clock::now() + wait;
  bool woken = false;
  while (taken.empty() && !woken) {
    notice_reconnect();
    if (rejoin_after_ && !stopped_) return taken;
    pull_if_due();
    ask_for_state_if_due();
    woken = wait_for_mail(max > 0, deadline, stop);
    read_notices();
    const auto count = std::min(max, ready_.size());
    std::move(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(count), std::back_inserter(taken));
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(count));
    requested_ = std::max(0, requested_ - static_cast<int>(count));
    // After a stop nobody joins again: returning early would only make the drain spin.
    if (stop.stop_requested() || (rejoin_after_ && !stopped_) || steady_clock::now() >= deadline) break;
  }
  if (!rejoin_after_) pull_if_due();
  return taken;
}

/// Empties the mailbox, after waiting for something in it. True when woken.
bool Puller::wait_for_mail(bool want_messages, steady_clock::time_point until, const std::stop_token& stop) {
  const auto time = steady_clock::now();
  const auto silence = last_sign_ + (heard_ ? steady : probing).missed;
  for (const auto alarm : {pull_again_, ask_again_, silence})
    if (alarm > time) until = std::min(until, alarm);
  auto& box = *mailbox_;
  std::unique_lock lock{box.mutex};
  if (!want_messages || ready_.empty())
    box.arrived.wait_until(lock, stop, until, [&box, want_messages] {
      return box.woken || box.new_leader || !box.notices.empty() || !box.states.empty() ||
             (want_messages && !box.messages.empty());
    });
  if (!box.messages.empty()) {
    on_sign_of_life();
    gauges_.lag = box.messages.back()->pending;
  }
  std::move(box.messages.begin(), box.messages.end(), std::back_inserter(ready_));
  box.messages.clear();
  notices_.swap(box.notices);
  states_.swap(box.states);
  new_leader_ = std::exchange(box.new_leader, false);
  std::move(spare_.begin(), spare_.end(), std::back_inserter(box.spare));
  spare_.clear();
  return std::exchange(box.woken, false);
}

void Puller::on_sign_of_life() {
  if (rejoin_after_) return;  // of a pull that is older than what the server has just said of the group
  heard_ = true;
  refused_pulls_.clear();
  last_sign_ = steady_clock::now();
  if (std::exchange(unanswered_, false)) spdlog::info("pulls are answered again group={}", group_.durable);
}

void Puller::wake() { mailbox_->wake(); }

void Puller::read_notices() {
  if (std::exchange(new_leader_, false)) on_new_leader();
  for (const auto& status : std::exchange(notices_, {}))
    on_status(status.get(), header_value(status.get(), "Status"));
  for (const auto& state : std::exchange(states_, {})) on_state(state.get());
}

void Puller::notice_reconnect() {
  if (stopped_ || !connection_.connected() || generation_ == connection_.generation()) return;
  // Requests die with the connection.
  generation_ = connection_.generation();
  pull_again_ = {};
  if (group_.push()) {
    rejoin_after_ = milliseconds{0};
  } else {
    pull_anew();
  }
}

/// Said once, however long it lasts.
void Puller::on_silence(const std::string& what) {
  // A refusal was told already.
  if (!std::exchange(unanswered_, true) && connection_.refusal().empty())
    spdlog::warn("pull unanswered group={}: {}, pulling again", group_.durable, what);
  pull_anew();
}

/// The group may have been deleted meanwhile, and a pull from one that is not there gets no answer at all
/// (2.9.10). Nobody waits to be told so, as looking it up would: while the group has no leader, that takes
/// seconds.
void Puller::pull_anew() {
  requested_ = static_cast<int>(ready_.size());
  heard_ = false;
  ask_again_ = {};
}

void Puller::on_new_leader() {
  spdlog::debug("new leader group={}", group_.durable);
  pull_anew();
  pause_pulling(leader_begins);  // in which it tells of the old one's pulls, too
}

void Puller::pull_if_due() {
  if (stopped_ || paused_ || group_.push()) return;
  const auto time = steady_clock::now();
  if (!connection_.connected() || time < pull_again_) return;
  const auto& pace = heard_ ? steady : probing;
  // After a slow batch, signs of life may be waiting to be read.
  if (requested_ > 0 && time - last_sign_ > pace.missed && ready_.empty() && mailbox_->empty())
    on_silence("silence for " + std::to_string(pace.missed.count()) + " ms");
  if (mailbox_->at_hand.bytes() > prefetch_.bytes / 2) return;
  if (std::exchange(larger_than_pull_, false)) return request(1, true);
  if (requested_ <= prefetch_.messages / 2) request(prefetch_.messages - requested_, false);
}

void Puller::request(int count, bool of_any_size) {
  const auto& pace = heard_ ? steady : probing;
  // Of pulls that met silence many may be open in the end: at a server that stood still, say.
  count = unanswered_ ? 1 : std::min(count, group_.max_request_batch);
  const auto expires = std::min<nanoseconds>(pace.expires, group_.max_expires);
  auto body =
      "{\"batch\":" + std::to_string(count) + ",\"expires\":" + std::to_string(expires.count()) +
      ",\"idle_heartbeat\":" + std::to_string(std::min<nanoseconds>(pace.heartbeat, expires / 2).count());
  // Two pulls may be open beside what is at hand.
  const auto bytes = std::min(prefetch_.bytes / 4, group_.max_request_bytes);
  if (!of_any_size) body += ",\"max_bytes\":" + std::to_string(bytes);
  body += "}";
  const auto subject = "$JS.API.CONSUMER.MSG.NEXT." + group_.stream + "." + group_.durable;
  const auto status = natsConnection_PublishRequest(native(connection_), subject.c_str(), inbox_.c_str(),
                                                    body.data(), static_cast<int>(body.size()));
  if (status != NATS_OK) return pause_pulling(milliseconds{100});
  requested_ += count;
  last_sign_ = steady_clock::now();
}

void Puller::on_status(natsMsg* message, std::string_view status) {
  const auto description = header_value(message, "Description");
  const bool refused = status == "400" || description.find("Exceeded MaxRequest") != std::string_view::npos;
  if (refused) return on_refused_pull(description);
  if (status != "503") on_sign_of_life();
  if (status == "100") return;  // idle heartbeat
  spdlog::debug("pull status group={} {} {}", group_.durable, status, description);
  if (status == "404" || status == "408") {
    expect_less(message);
  } else if (status == "409" && description.find("Deleted") != std::string_view::npos) {
    on_deletion();
  } else if (status == "409" && description.find("Batch Completed") != std::string_view::npos) {
    // All of that pull has come, in fewer bytes than it had room for (2.10 and later say so).
  } else if (status == "409" && description.find("Leadership") != std::string_view::npos) {
    requested_ = static_cast<int>(ready_.size());
  } else if (status == "409" && description.find("push based") != std::string_view::npos) {
    rejoin_after_ = milliseconds{0};
    requested_ = 0;
  } else if (status == "409" && description.find("Exceeds MaxBytes") != std::string_view::npos) {
    expect_less(message);
    larger_than_pull_ = true;
  } else if (status == "503") {
    // JetStream is electing, or the durable is gone.
    on_silence("nobody serves it");
    pause_pulling(milliseconds{100});
  } else {
    expect_less(message);
    pause_pulling(milliseconds{250});
  }
}

/// The durable allows less than it did when it was joined. Said once, however often.
void Puller::on_refused_pull(std::string_view description) {
  if (refused_pulls_ != description)
    spdlog::warn("pull refused group={}: {}; looking up its limits", group_.durable, description);
  refused_pulls_ = description;
  unanswered_ = false;
  rejoin_after_ = refusal_pause;
  requested_ = static_cast<int>(ready_.size());
  heard_ = false;
}

void Puller::expect_less(natsMsg* message) {
  const auto pending = header_value(message, "Nats-Pending-Messages");
  int count = requested_;  // an older server does not say: the whole request is over
  std::from_chars(pending.data(), pending.data() + pending.size(), count);
  requested_ = std::max(0, requested_ - count);
}

void Puller::pause_pulling(milliseconds delay) { pull_again_ = steady_clock::now() + delay; }

/// The answer comes like any message: nobody waits for it.
void Puller::ask_for_state_if_due() {
  const auto time = steady_clock::now();
  if (stopped_ || time < ask_again_ || !connection_.connected()) return;
  ask_again_ = time + state_interval;
  const auto subject = "$JS.API.CONSUMER.INFO." + group_.stream + "." + group_.durable;
  natsConnection_PublishRequestString(native(connection_), subject.c_str(), answer_inbox_.c_str(), "");
}

void Puller::on_deletion() {
  mailbox_->at_hand.disown();
  created_.clear();
  rejoin_after_ = deletion_takes;
  requested_ = 0;
  heard_ = false;
}

/// A push consumer's end is told in no other way.
void Puller::on_state(natsMsg* answer) {
  if (natsMsg_GetDataLength(answer) == 0) return;  // no responders: JetStream is electing
  const auto state = nlohmann::json::parse(
      natsMsg_GetData(answer), natsMsg_GetData(answer) + natsMsg_GetDataLength(answer), nullptr, false);
  if (!state.is_object()) return;
  if (const auto error = state.find("error"); error != state.end()) {
    const int code = error->value("err_code", 0);
    if (code == JSConsumerNotFoundErr || code == JSStreamNotFoundErr) {
      on_deletion();
    }
    return;
  }
  gauges_.lag = state.value("num_pending", std::uint64_t{0});
  const auto created = state.value("created", std::string{});
  const auto before = std::exchange(created_, created);
  if (!before.empty() && created != before) mailbox_->at_hand.disown();  // made again by another
  open_ = state.value("num_ack_pending", std::uint64_t{0});
  warn_of_waiting_events();
}

void Puller::warn_of_waiting_events() {
  const auto time = steady_clock::now();
  if (waiting_.crowd_out(open_, group_.max_ack_pending, gauges_.in_flight, time))
    spdlog::warn(
        "group={}: {} events wait here for a retry or behind one, of {} that the group may have open "
        "(max_ack_pending): when all of these are, no other event is handed out",
        group_.durable, waiting_.count(time), group_.max_ack_pending);
}

void Puller::ack(StreamMessagePtr received) {
  auto message = std::move(*received).ack();
  settled(std::move(received), std::move(message));
}

void Puller::nak(StreamMessagePtr received, milliseconds delay) {
  auto message = std::move(*received).nak(delay);
  settled(std::move(received), std::move(message));
  if (delay.count() <= 0) return;
  const auto time = steady_clock::now();
  waiting_.add(time + delay, time);
  warn_of_waiting_events();
}

void Puller::terminate(StreamMessagePtr received) {
  auto message = std::move(*received).terminate();
  settled(std::move(received), std::move(message));
}

void Puller::settled(StreamMessagePtr received, MessagePtr message) {
  discarded_.add(std::move(message));
  spare_.push_back(std::move(received));
}

void Puller::stop(steady_clock::time_point deadline, std::vector<StreamMessagePtr> not_started) {
  stopped_ = true;
  if (connection_.connected()) end_subscription(deadline);
  for (auto& received : not_started) nak(std::move(received));
  for (auto& received : ready_) nak(std::move(received));
  std::vector<StreamMessagePtr> not_taken;
  {
    const std::lock_guard lock{mailbox_->mutex};
    not_taken.swap(mailbox_->messages);
  }
  for (auto& received : not_taken) nak(std::move(received));
}

void Puller::end_subscription(steady_clock::time_point deadline) {
  const auto left = [deadline] {
    return std::max<int64_t>(1, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count());
  };
  // Draining tells the server to send no more, and still delivers what is on its way; a bare
  // unsubscribe would drop that, and it would be missing for a whole AckWait.
  if (natsSubscription_DrainTimeout(subscription_, left()) == NATS_OK)
    natsSubscription_WaitForDrainCompletion(subscription_, left());
  if (group_.push()) return;
  // Our pull requests are still queued on the server. Until 2.10.27 (seen in 2.9.10 to 2.10.0) a message that
  // is given back to such a queue is taken for the dead request and forgotten for a whole AckWait; asking for
  // the consumer's state makes the server drop requests that nobody listens for.
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = left();
  jsConsumerInfo* info = nullptr;
  js_GetConsumerInfo(&info, jetstream(connection_), group_.stream.c_str(), group_.durable.c_str(), &options,
                     nullptr);
  jsConsumerInfo_Destroy(info);
}

}  // namespace tidings
