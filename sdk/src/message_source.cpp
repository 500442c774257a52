#include "message_source.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>

namespace tidings {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

/// What a pull asks for: how long it lasts, how often the server shows life while it has no messages,
/// and after what silence the pull is taken for lost.
struct Pace {
  milliseconds expires, heartbeat, missed;
};
constexpr Pace steady{seconds{30}, seconds{15}, seconds{30}};  // ADR-37
// A durable that another instance is just making can be looked up before it listens, and the server
// drops a pull in between without a word (2.9.10): until it has answered once, ask for quick signs.
constexpr Pace probing{milliseconds{1000}, milliseconds{500}, milliseconds{1000}};
// The server tells of a group's deletion before it has finished it (2.9.10): a group that is made again
// at once would be deleted with it.
constexpr milliseconds deletion_takes{200};

std::string_view header_value(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK && value != nullptr ? value : std::string_view{};
}

bool is_delivery(natsMsg* message) {
  const char* reply = natsMsg_GetReply(message);
  return reply != nullptr && std::string_view{reply}.starts_with("$JS.ACK.");
}

}  // namespace

struct Mailbox {
  std::mutex mutex;
  std::condition_variable_any arrived;
  std::deque<MessagePtr> messages;
  std::unordered_set<natsMsg*> in_hand;  // taken and not settled
  bool connection_changed = false;
  DiscardedMessages settled;  // of the consumer's thread

  static void deliver(natsConnection*, natsSubscription*, natsMsg* message, void* closure) {
    auto& mailbox = *static_cast<Mailbox*>(closure);
    const std::lock_guard lock{mailbox.mutex};
    mailbox.messages.emplace_back(message);
    mailbox.arrived.notify_one();
  }

  void tell_connection_changed() {
    const std::lock_guard lock{mutex};
    connection_changed = true;
    arrived.notify_one();
  }

  bool empty() {
    const std::lock_guard lock{mutex};
    return messages.empty();
  }

  void put_down(natsMsg* message) {
    const std::lock_guard lock{mutex};
    in_hand.erase(message);
  }
};

Received::Received(MessagePtr message, Mailbox& mailbox, Connection& connection)
    : message_(std::move(message)), mailbox_(&mailbox), connection_(&connection) {}

Received::~Received() {
  if (message_) mailbox_->put_down(message_.get());
}

void Received::give_back(milliseconds delay) && {
  if (delay.count() <= 0) return settle("-NAK");
  settle("-NAK {\"delay\": " + std::to_string(duration_cast<nanoseconds>(delay).count()) + "}");
}

void Received::settle(const std::string& verb) {
  // First, since a +WPI that follows a delayed -NAK would replace its delay by the AckWait.
  mailbox_->put_down(message_.get());
  // Lost with the connection, the message comes back and the inbox knows it: no error here.
  natsConnection_Publish(connection_->native(), natsMsg_GetReply(message_.get()), verb.data(),
                         static_cast<int>(verb.size()));
  mailbox_->settled.add(std::move(message_));
}

MessageSource::MessageSource(Connection& connection, Group group, int prefetch)
    : connection_(connection),
      group_(std::move(group)),
      prefetch_(prefetch),
      mailbox_(std::make_shared<Mailbox>()),
      generation_(connection.generation()),
      last_sign_(steady_clock::now()) {
  subscribe();
  // Pull again as soon as the connection is back.
  connection_.observe([mailbox = mailbox_](bool) { mailbox->tell_connection_changed(); });
  heart_ = std::jthread([this](const std::stop_token& stop) { keep_alive(stop); });
}

MessageSource::~MessageSource() {
  connection_.observe({});
  natsSubscription_Unsubscribe(subscription_);
}

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
    notice_reconnect();
    if (rejoin_after_) break;
    pull_if_due();
    std::vector<MessagePtr> statuses;
    {
      std::unique_lock lock{mailbox_->mutex};
      const auto until = std::min(deadline, pull_again_ > steady_clock::now() ? pull_again_ : deadline);
      mailbox_->arrived.wait_until(
          lock, stop, until, [this] { return !mailbox_->messages.empty() || mailbox_->connection_changed; });
      mailbox_->connection_changed = false;
      while (!mailbox_->messages.empty() && taken.size() < max) {
        auto message = std::move(mailbox_->messages.front());
        mailbox_->messages.pop_front();
        if (is_delivery(message.get())) {
          mailbox_->in_hand.insert(message.get());
          taken.emplace_back(std::move(message), *mailbox_, connection_);
        } else {
          statuses.push_back(std::move(message));
        }
      }
    }
    if (!taken.empty() || !statuses.empty()) {
      heard_ = true;
      last_sign_ = steady_clock::now();
    }
    requested_ = std::max(0, requested_ - static_cast<int>(taken.size()));
    for (const auto& status : statuses) on_status(status.get(), header_value(status.get(), "Status"));
    if (stop.stop_requested() || rejoin_after_ || steady_clock::now() >= deadline) break;
  }
  if (!rejoin_after_) pull_if_due();
  return taken;
}

void MessageSource::notice_reconnect() {
  if (!connection_.connected() || generation_ == connection_.generation()) return;
  // Requests die with the connection, and the group may have been deleted meanwhile: a pull from one that
  // is not there gets no answer at all (2.9.10).
  generation_ = connection_.generation();
  requested_ = 0;
  heard_ = false;
  pull_again_ = {};
  rejoin_after_ = milliseconds{0};
}

void MessageSource::pull_if_due() {
  if (group_.push()) return;
  const auto time = steady_clock::now();
  if (!connection_.connected() || time < pull_again_) return;
  const auto& pace = heard_ ? steady : probing;
  // After a slow batch, signs of life may be waiting to be read.
  if (requested_ > 0 && time - last_sign_ > pace.missed && mailbox_->empty()) {
    spdlog::warn("pull unanswered group={} for {} ms, pulling again", group_.durable, pace.missed.count());
    requested_ = 0;
    heard_ = false;
    rejoin_after_ = milliseconds{0};
    return;
  }
  if (requested_ <= prefetch_ / 2) request(prefetch_ - requested_);
}

void MessageSource::request(int count) {
  const auto& pace = heard_ ? steady : probing;
  const auto body = "{\"batch\":" + std::to_string(count) +
                    ",\"expires\":" + std::to_string(nanoseconds{pace.expires}.count()) +
                    ",\"idle_heartbeat\":" + std::to_string(nanoseconds{pace.heartbeat}.count()) + "}";
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
    rejoin_after_ = deletion_takes;
    requested_ = 0;
    heard_ = false;
  } else if (status == "409" && (description.find("Leadership") != std::string_view::npos ||
                                 description.find("Batch Completed") != std::string_view::npos)) {
    requested_ = 0;
  } else if (status == "503") {
    // Nobody serves this durable: JetStream is electing, or the durable is gone.
    rejoin_after_ = milliseconds{0};
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
    const auto extend = [this](natsMsg* message) {
      natsConnection_PublishString(connection_.native(), natsMsg_GetReply(message), "+WPI");
    };
    for (natsMsg* message : mailbox_->in_hand) extend(message);
    for (const auto& message : mailbox_->messages)
      if (is_delivery(message.get())) extend(message.get());
  }
  nats_ReleaseThreadMemory();
}

void MessageSource::stop(milliseconds timeout, std::vector<Received> not_started) {
  if (connection_.connected()) end_subscription(timeout);
  heart_.request_stop();
  heart_.join();
  for (auto& received : not_started) std::move(received).give_back();
  std::deque<MessagePtr> not_taken;
  {
    const std::lock_guard lock{mailbox_->mutex};
    not_taken.swap(mailbox_->messages);
  }
  for (auto& message : not_taken)
    if (is_delivery(message.get())) Received{std::move(message), *mailbox_, connection_}.give_back();
}

void MessageSource::end_subscription(milliseconds timeout) {
  // Draining tells the server to send no more, and still delivers what is on its way; a bare
  // unsubscribe would drop that, and it would be missing for a whole AckWait.
  if (natsSubscription_DrainTimeout(subscription_, timeout.count()) == NATS_OK)
    natsSubscription_WaitForDrainCompletion(subscription_, timeout.count());
  if (group_.push()) return;
  // Our pull requests are still queued on the server. Until 2.10.27 (seen in 2.9.10 to 2.10.0) a message that
  // is given back to such a queue is taken for the dead request and forgotten for a whole AckWait; asking for
  // the consumer's state makes the server drop requests that nobody listens for.
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = timeout.count();
  jsConsumerInfo* info = nullptr;
  js_GetConsumerInfo(&info, connection_.jetstream(), group_.stream.c_str(), group_.durable.c_str(), &options,
                     nullptr);
  jsConsumerInfo_Destroy(info);
}

}  // namespace tidings
