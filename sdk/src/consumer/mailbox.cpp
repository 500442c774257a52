#include "consumer/mailbox.hpp"

#include "consumer/group.hpp"

#include <iterator>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

bool is_delivery(natsMsg* message) {
  const char* reply = natsMsg_GetReply(message);
  return reply != nullptr && std::string_view{reply}.starts_with("$JS.ACK.");
}

/// Flow control of a push consumer: until it is answered, the server sends no more (ADR-15). A heartbeat
/// names the same subject when that message was lost, or sent to an instance that has ended.
void answer_flow_control(natsConnection* connection, natsMsg* status) {
  const char* code = nullptr;
  if (natsMsgHeader_Get(status, "Status", &code) != NATS_OK || code == nullptr ||
      std::string_view{code} != "100")
    return;
  const char* stalled = nullptr;
  const char* reply = natsMsg_GetReply(status);
  if (natsMsgHeader_Get(status, "Nats-Consumer-Stalled", &stalled) == NATS_OK && stalled != nullptr)
    reply = stalled;
  if (reply != nullptr && *reply != '\0') natsConnection_Publish(connection, reply, nullptr, 0);
}

}  // namespace

void Mail::clear() {
  messages.clear();
  statuses.clear();
  states.clear();
  new_leader = woken = false;
}

Mailbox::Mailbox(natsConnection* connection, std::chrono::milliseconds ack_wait, std::string subject_prefix,
                 std::atomic<std::uint64_t>& count, InFlight::MayExtend may_extend)
    : in_flight(connection, ack_wait, count, std::move(may_extend)),
      connection_(connection),
      subject_prefix_(std::move(subject_prefix)) {}

template <class Change>
void Mailbox::update(Change&& change) {
  const std::lock_guard lock{mutex_};
  change();
  arrived_.notify_one();
}

/// Decodes outside of the lock, beside the handlers.
void Mailbox::deliver(natsConnection*, natsSubscription*, natsMsg* raw, void* closure) {
  auto& mailbox = *static_cast<Mailbox*>(closure);
  MessagePtr received{raw};
  if (!is_delivery(raw)) {
    answer_flow_control(mailbox.connection_, raw);
    return mailbox.update([&] { mailbox.mail_.statuses.push_back(std::move(received)); });
  }
  if (mailbox.own_spare_.empty())
    mailbox.own_spare_.push_back(std::make_unique<StreamMessage>(mailbox.connection_, mailbox.in_flight));
  auto message = std::move(mailbox.own_spare_.back());
  mailbox.own_spare_.pop_back();
  message->read(std::move(received), mailbox.subject_prefix_);
  message->after_gap = message->consumer_sequence != mailbox.last_consumer_sequence_ + 1;
  mailbox.last_consumer_sequence_ = message->consumer_sequence;
  if (message->delivery.delivered > 1) mailbox.notice_lapses();
  mailbox.update([&] {
    if (mailbox.closed_) return;
    mailbox.mail_.messages.push_back(std::move(message));
    if (mailbox.own_spare_.empty()) mailbox.own_spare_.swap(mailbox.spare_);
  });
}

void Mailbox::close() {
  Mail left;
  std::function<void()> action;
  {
    const std::lock_guard lock{mutex_};
    closed_ = true;
    std::swap(left, mail_);
    std::swap(action, on_lapse_);
  }
  in_flight.stop();
}

void Mailbox::on_lapse(std::function<void()> action) {
  const std::lock_guard lock{mutex_};
  on_lapse_ = std::move(action);
}

void Mailbox::notice_lapses() {
  const auto lapses = in_flight.lapses();
  const auto now = std::chrono::steady_clock::now();
  if (lapses == lapses_ || now < next_lapse_) return;
  lapses_ = lapses;
  next_lapse_ = now + std::chrono::seconds{1};
  std::function<void()> action;
  {
    const std::lock_guard lock{mutex_};
    action = on_lapse_;
  }
  if (action) action();
}

/// A new AckWait is kept at once: the consumer's thread may be in a handler.
void Mailbox::deliver_state(natsConnection*, natsSubscription*, natsMsg* raw, void* closure) {
  auto& mailbox = *static_cast<Mailbox*>(closure);
  const auto state =
      GroupState::parse({natsMsg_GetData(raw), static_cast<std::size_t>(natsMsg_GetDataLength(raw))});
  if (state.ack_wait.count() > 0) mailbox.in_flight.use(state.ack_wait);
  mailbox.update([&] { mailbox.mail_.states.emplace_back(raw); });
}

void Mailbox::tell_of_new_leader() {
  update([this] { mail_.new_leader = true; });
}

void Mailbox::wake() {
  update([this] { mail_.woken = true; });
}

void Mailbox::collect(Mail& mail, Until until, std::chrono::steady_clock::time_point deadline,
                      const std::stop_token& stop) {
  const bool waits = deadline > std::chrono::steady_clock::now();
  std::unique_lock lock{mutex_};
  // Even a wait that is over before it begins costs a call into the kernel.
  if (waits)
    arrived_.wait_until(lock, stop, deadline, [this, until] {
      return mail_.woken || mail_.new_leader || !mail_.statuses.empty() || !mail_.states.empty() ||
             (until == Until::anything && !mail_.messages.empty());
    });
  std::swap(mail, mail_);
}

bool Mailbox::has_messages_or_statuses() {
  const std::lock_guard lock{mutex_};
  return !mail_.messages.empty() || !mail_.statuses.empty();
}

void Mailbox::reuse(std::vector<StreamMessagePtr>& spare) {
  if (spare.empty()) return;
  const std::lock_guard lock{mutex_};
  std::move(spare.begin(), spare.end(), std::back_inserter(spare_));
  spare.clear();
}

}  // namespace tidings
