#include "message_source.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>

namespace tidings {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

// ADR-37: a pull lasts 30 s, the server shows life every 15 s, and is taken for dead after 30 s.
constexpr seconds pull_expires{30};
constexpr seconds idle_heartbeat{15};
constexpr seconds missed_heartbeat{30};

std::string_view header_value(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK && value != nullptr ? value : std::string_view{};
}

bool is_delivery(natsMsg* message) {
  const char* reply = natsMsg_GetReply(message);
  return reply != nullptr && std::string_view{reply}.starts_with("$JS.ACK.");
}

}  // namespace

void Received::give_back(milliseconds delay) && {
  if (delay.count() <= 0) return settle("-NAK");
  settle("-NAK {\"delay\": " + std::to_string(duration_cast<nanoseconds>(delay).count()) + "}");
}

void Received::settle(const std::string& verb) {
  // Lost with the connection, the message comes back and the inbox knows it: no error here.
  natsConnection_Publish(connection_->native(), natsMsg_GetReply(message_.get()), verb.data(),
                         static_cast<int>(verb.size()));
  message_.reset();
}

/// Filled by nats.c's delivery thread, emptied by the consumer's.
struct MessageSource::Mailbox {
  std::mutex mutex;
  std::condition_variable_any arrived;
  std::deque<MessagePtr> messages;
  std::vector<std::string> in_hand;  // reply subjects of those taken

  static void deliver(natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
    auto& mailbox = *static_cast<Mailbox*>(closure);
    const std::lock_guard lock{mailbox.mutex};
    mailbox.messages.emplace_back(message);
    mailbox.arrived.notify_one();
  }
};

MessageSource::MessageSource(Connection& connection, Group group, int prefetch)
    : connection_(connection),
      group_(std::move(group)),
      prefetch_(prefetch),
      mailbox_(std::make_shared<Mailbox>()),
      generation_(connection.generation()),
      last_sign_(steady_clock::now()) {
  subscribe();
  heart_ = std::jthread([this](const std::stop_token& stop) { keep_alive(stop); });
}

MessageSource::~MessageSource() { natsSubscription_Unsubscribe(subscription_); }

void MessageSource::subscribe() {
  if (group_.push()) {
    check(natsConnection_QueueSubscribe(&subscription_, connection_.native(), group_.deliver_subject.c_str(),
                                        group_.deliver_group.c_str(), Mailbox::deliver, mailbox_.get()),
          "join the deliver group " + group_.deliver_group);
  } else {
    natsInbox* inbox = nullptr;
    check(natsInbox_Create(&inbox), "make an inbox subject");
    inbox_ = inbox;
    natsInbox_Destroy(inbox);
    check(natsConnection_Subscribe(&subscription_, connection_.native(), inbox_.c_str(), Mailbox::deliver,
                                   mailbox_.get()),
          "subscribe for pulled messages");
  }
  // The prefetch is the bound; nats.c's own would drop messages.
  natsSubscription_SetPendingLimits(subscription_, -1, -1);
  // A message that races the subscription's end must still find it and the mailbox.
  connection_.keep(std::shared_ptr<void>(subscription_, [mailbox = mailbox_](void* held) {
    natsSubscription_Destroy(static_cast<natsSubscription*>(held));
  }));
}

std::vector<Received> MessageSource::take(std::size_t max, milliseconds wait, const std::stop_token& stop) {
  std::vector<Received> taken;
  const auto deadline = steady_clock::now() + wait;
  while (taken.empty()) {
    pull_if_due();
    std::vector<MessagePtr> statuses;
    {
      std::unique_lock lock{mailbox_->mutex};
      const auto until = std::min(deadline, pull_again_ > steady_clock::now() ? pull_again_ : deadline);
      mailbox_->arrived.wait_until(lock, stop, until, [this] { return !mailbox_->messages.empty(); });
      while (!mailbox_->messages.empty() && taken.size() < max) {
        auto message = std::move(mailbox_->messages.front());
        mailbox_->messages.pop_front();
        if (is_delivery(message.get())) {
          mailbox_->in_hand.emplace_back(natsMsg_GetReply(message.get()));
          taken.emplace_back(std::move(message), connection_);
        } else {
          statuses.push_back(std::move(message));
        }
      }
    }
    if (!taken.empty() || !statuses.empty()) last_sign_ = steady_clock::now();
    requested_ = std::max(0, requested_ - static_cast<int>(taken.size()));
    for (const auto& status : statuses) on_status(status.get(), header_value(status.get(), "Status"));
    if (stop.stop_requested() || lost_group_ || steady_clock::now() >= deadline) break;
  }
  pull_if_due();
  return taken;
}

void MessageSource::settled() {
  const std::lock_guard lock{mailbox_->mutex};
  mailbox_->in_hand.clear();
}

void MessageSource::pull_if_due() {
  if (group_.push()) return;
  const auto time = steady_clock::now();
  if (generation_ != connection_.generation()) {
    // Requests die with the connection.
    generation_ = connection_.generation();
    requested_ = 0;
    pull_again_ = {};
  }
  if (!connection_.connected() || time < pull_again_) return;
  if (requested_ > 0 && time - last_sign_ > missed_heartbeat) {
    spdlog::warn("pull unanswered group={} for {} s, pulling again", group_.durable,
                 missed_heartbeat.count());
    requested_ = 0;
  }
  if (requested_ <= prefetch_ / 2) request(prefetch_ - requested_);
}

void MessageSource::request(int count) {
  const auto body = "{\"batch\":" + std::to_string(count) +
                    ",\"expires\":" + std::to_string(nanoseconds{pull_expires}.count()) +
                    ",\"idle_heartbeat\":" + std::to_string(nanoseconds{idle_heartbeat}.count()) + "}";
  const auto subject = "$JS.API.CONSUMER.MSG.NEXT." + group_.stream + "." + group_.durable;
  const auto status = natsConnection_PublishRequest(connection_.native(), subject.c_str(), inbox_.c_str(),
                                                    body.data(), static_cast<int>(body.size()));
  if (status != NATS_OK) return pause_pulling(milliseconds{100});
  requested_ += count;
  last_sign_ = steady_clock::now();
}

void MessageSource::on_status(natsMsg* message, std::string_view status) {
  if (status == "100") return;  // idle heartbeat
  const auto description = header_value(message, "Description");
  spdlog::debug("pull status group={} {} {}", group_.durable, status, description);
  if (status == "404" || status == "408") {
    expect_less(message);
  } else if (status == "409" && description.find("Deleted") != std::string_view::npos) {
    lost_group_ = true;
    requested_ = 0;
  } else if (status == "409" && (description.find("Leadership") != std::string_view::npos ||
                                 description.find("Batch Completed") != std::string_view::npos)) {
    requested_ = 0;
  } else if (status == "503") {
    // Nobody serves this durable: JetStream is electing, or the durable is gone.
    lost_group_ = true;
    requested_ = 0;
    pause_pulling(milliseconds{100});
  } else {
    expect_less(message);
    pause_pulling(milliseconds{250});
  }
}

void MessageSource::expect_less(natsMsg* message) {
  const auto pending = header_value(message, "Nats-Pending-Messages");
  int count = requested_;  // an older server does not say: the whole request is over
  std::from_chars(pending.data(), pending.data() + pending.size(), count);
  requested_ = std::max(0, requested_ - count);
}

void MessageSource::pause_pulling(milliseconds delay) { pull_again_ = steady_clock::now() + delay; }

void MessageSource::keep_alive(const std::stop_token& stop) {
  std::unique_lock lock{mailbox_->mutex};
  std::condition_variable_any never;
  while (!never.wait_for(lock, stop, group_.ack_wait / 3, [&stop] { return stop.stop_requested(); })) {
    const auto extend = [this](const char* reply) {
      natsConnection_PublishString(connection_.native(), reply, "+WPI");
    };
    for (const auto& reply : mailbox_->in_hand) extend(reply.c_str());
    for (const auto& message : mailbox_->messages)
      if (is_delivery(message.get())) extend(natsMsg_GetReply(message.get()));
  }
  nats_ReleaseThreadMemory();
}

void MessageSource::stop(milliseconds timeout) {
  // Draining tells the server to send no more, and still delivers what is on its way; a bare
  // unsubscribe would drop that, and it would be missing for a whole AckWait.
  if (connection_.connected() && natsSubscription_DrainTimeout(subscription_, timeout.count()) == NATS_OK)
    natsSubscription_WaitForDrainCompletion(subscription_, timeout.count());
  heart_.request_stop();
  heart_.join();
  const std::lock_guard lock{mailbox_->mutex};
  for (auto& message : mailbox_->messages)
    if (is_delivery(message.get())) Received{std::move(message), connection_}.give_back();
  mailbox_->messages.clear();
}

}  // namespace tidings
