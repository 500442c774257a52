#include "nats/handle.hpp"
#include "nats/subscription.hpp"
#include "services/event_sender.hpp"
#include "services/pub_ack.hpp"

#include <tidings/event_publisher.hpp>
#include <tidings/uuid.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

namespace tidings {

using std::chrono::steady_clock;
using Kind = PublishResult::Kind;

namespace {

constexpr std::size_t most_answers_unseen = 256;
constexpr std::size_t many_answers = 64;
constexpr std::chrono::milliseconds after_error{500};
constexpr std::chrono::microseconds gathering{500};

}  // namespace

/// Shared with the subscription, whose callback may still run when the publisher is gone.
struct EventPublisher::State {
  struct Flight {
    std::uint64_t token = 0, generation = 0;
    steady_clock::time_point deadline{};
    std::vector<std::uint64_t> batch{};  // tokens, instead of the one
    bool done = false;
  };

  State(Connection& its_connection, PublisherOptions its_options, ReadData read_data)
      : connection(its_connection),
        options(std::move(its_options)),
        ack_wait(options.ack_timeout),
        sender(connection, options, std::move(read_data)) {}

  Connection& connection;
  const PublisherOptions options;
  std::string inbox;                             // answers come to <inbox>.<number>
  const std::string batches = new_uuid() + '-';  // which with a number makes a batch's id
  std::optional<Subscription> subscription;      // of those; owned by the publisher's thread

  // The owner's thread.
  std::deque<Flight> flights;  // in the order sent; the first has number `first`
  std::uint64_t first = 0;
  std::size_t in_flight = 0;
  std::uint64_t last_batch = 0;
  std::chrono::milliseconds ack_wait;  // with what is sent now
  bool failing = false;
  std::vector<PublishResult> immediate;  // results that needed no answer
  EventSender sender;
  std::string reply;  // this and the next keep their memory
  std::vector<PublishResult> taken;

  DiscardedMessages seen;  // used by nats.c's thread

  std::mutex mutex;
  std::vector<PublishResult> answers;  // with the number of the publish as the token; `taken` likewise
  std::int64_t delivered = 0;          // messages that deliver() has put into `answers` or ignored
  std::size_t wake_at = 1;             // as many answers wake the owner
  std::function<void()> on_result;

  static void deliver(natsConnection*, natsSubscription* subscription, natsMsg* raw, void* closure) {
    auto& state = *static_cast<State*>(closure);
    const auto number = state.number_of(raw);
    auto result = read_pub_ack(raw);
    state.seen.add(MessagePtr{raw});
    const bool urgent = result.kind != Kind::stored;
    bool many_missing = false;
    {
      const std::lock_guard lock{state.mutex};
      ++state.delivered;
      if (!number) return;
      result.token = *number;
      state.answers.push_back(std::move(result));
      if ((urgent || state.answers.size() == state.wake_at) && state.on_result) state.on_result();
      many_missing = state.answers.size() < state.wake_at && state.wake_at >= many_answers;
    }
    if (!many_missing || urgent) return;
    // Let answers gather, or nats.c's thread would wake up for each, and sleep again.
    std::uint64_t queued = 0;
    if (natsSubscription_QueuedMsgs(subscription, &queued) == NATS_OK && queued == 0)
      std::this_thread::sleep_for(gathering);
  }

  /// The number of the publish that is answered.
  [[nodiscard]] std::optional<std::uint64_t> number_of(natsMsg* answer) const {
    const std::string_view subject{natsMsg_GetSubject(answer)};
    const auto digits = subject.substr(std::min(inbox.size() + 1, subject.size()));
    std::uint64_t number = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return read.ec == std::errc{} ? std::optional{number} : std::nullopt;
  }

  /// False while answers that came before a cut still wait for nats.c's thread.
  [[nodiscard]] bool all_received_is_delivered() {
    std::uint64_t queued = 0;
    std::int64_t begun = 0;
    if (natsSubscription_QueuedMsgs(subscription->get(), &queued) != NATS_OK ||
        natsSubscription_GetDelivered(subscription->get(), &begun) != NATS_OK)
      return true;  // the subscription is closed
    const std::lock_guard lock{mutex};
    return queued == 0 && delivered == begun;
  }

  /// The server answers in order. Once it says that it cannot store an event, the earlier ones that it has
  /// not answered are lost, as when the stream was deleted: waiting long for them is of no use. What is sent
  /// next is waited for as long as `next_wait`.
  void hasten(std::chrono::milliseconds next_wait) {
    failing = true;
    ack_wait = std::min(next_wait, options.ack_timeout);
    const auto soon = steady_clock::now() + after_error;
    for (auto& flight : flights) flight.deadline = std::min(flight.deadline, soon);
  }

  /// After an error the wait starts short and doubles: a broker that is merely slow must get to answer.
  void learn_from(const std::vector<PublishResult>& settled) {
    const auto any = [&settled](Kind kind) {
      return std::any_of(settled.begin(), settled.end(),
                         [kind](auto& result) { return result.kind == kind; });
    };
    if (any(Kind::stored)) {
      failing = false;
      ack_wait = options.ack_timeout;
    }
    if (any(Kind::transient)) hasten(failing ? ack_wait * 2 : after_error);
  }

  /// A publish that the user may not make gets no answer either.
  [[nodiscard]] std::string no_answer() const {
    const auto refusal = connection.refusal([this](std::string_view text) {
      return text.find('"' + options.subject_prefix + '.') != std::string_view::npos;
    });
    return refusal.empty() ? "no PubAck in time" : "no PubAck in time: " + refusal;
  }

  void settle(Flight& flight, PublishResult result, std::vector<PublishResult>& out) {
    if (flight.done) return;
    flight.done = true;
    --in_flight;
    result.token = flight.token;
    if (flight.batch.empty()) return out.push_back(std::move(result));
    settle_batch(flight.batch, std::move(result), out);
  }

  /// What is refused may be wrong with one event only, or with the batch.
  static void settle_batch(const std::vector<std::uint64_t>& tokens, PublishResult result,
                           std::vector<PublishResult>& out) {
    if (result.kind == Kind::refused) {
      result.kind = Kind::unbatched;
      spdlog::debug("a batch of {} events was refused: {}", tokens.size(), result.error);
    }
    for (const auto token : tokens) {
      result.token = token;
      out.push_back(result);
    }
  }

  [[nodiscard]] std::uint64_t next_number() const { return first + flights.size(); }
  void expect_answer(Flight flight);
};

void EventPublisher::State::expect_answer(Flight flight) {
  flight.deadline = steady_clock::now() + ack_wait;
  flights.push_back(std::move(flight));
  ++in_flight;
}

EventPublisher::EventPublisher(Connection& connection, PublisherOptions options,
                               std::function<void()> on_result, ReadData read_data)
    : state_(std::make_shared<State>(connection, std::move(options), std::move(read_data))) {
  state_->on_result = std::move(on_result);
  state_->inbox = connection.new_inbox();
  state_->subscription.emplace(connection, state_->inbox + ".*", State::deliver, state_);
  natsSubscription_SetPendingLimits(state_->subscription->get(), -1, -1);
}

EventPublisher::~EventPublisher() {
  state_->subscription.reset();
  const std::lock_guard lock{state_->mutex};
  state_->on_result = nullptr;
}

void EventPublisher::publish(std::uint64_t token, const OutboxEvent& row) {
  auto& own = *state_;
  own.reply.assign(own.inbox).append(1, '.').append(std::to_string(own.next_number()));
  const auto generation = own.connection.generation();
  if (auto failure = own.sender.send(row, own.reply.c_str())) {
    failure->token = token;
    return own.immediate.push_back(std::move(*failure));
  }
  own.expect_answer({.token = token, .generation = generation});
}

void EventPublisher::publish_batch(const std::vector<PublishRequest>& requests) {
  auto& own = *state_;
  own.reply.assign(own.inbox).append(1, '.').append(std::to_string(own.next_number()));
  BatchPlace place{.id = own.batches + std::to_string(++own.last_batch)};
  State::Flight flight{.generation = own.connection.generation()};
  for (const auto& request : requests) flight.batch.push_back(request.token);
  for (const auto& request : requests) {
    place.last = ++place.sequence == requests.size();
    // Only the last is answered. What was sent before a failure is not committed, and the server forgets it.
    if (auto failure = own.sender.send(*request.event, place.last ? own.reply.c_str() : nullptr, &place))
      return State::settle_batch(flight.batch, std::move(*failure), own.immediate);
  }
  own.expect_answer(std::move(flight));
}

void EventPublisher::flush() { state_->connection.flush(std::chrono::milliseconds{1000}); }

void EventPublisher::collect(std::vector<PublishResult>& out) {
  auto& own = *state_;
  std::move(own.immediate.begin(), own.immediate.end(), std::back_inserter(out));
  own.immediate.clear();
  // `generation` and `lost` are read before the answers are taken: an answer that came over the old
  // connection is then among them.
  const auto generation = own.connection.generation();
  const bool cut = !own.flights.empty() && own.flights.front().generation != generation;
  const bool lost = cut && own.all_received_is_delivered();
  {
    const std::lock_guard lock{own.mutex};
    own.taken.swap(own.answers);
    // With much in flight, a wake-up for each answer would cost more than the answers.
    const auto still_in_flight = own.in_flight - std::min(own.in_flight, own.taken.size());
    own.wake_at = std::clamp<std::size_t>(still_in_flight / 4, 1, most_answers_unseen);
  }
  for (auto& answer : own.taken)
    if (const auto place = answer.token - own.first; answer.token >= own.first && place < own.flights.size())
      own.settle(own.flights[place], std::move(answer), out);
  own.taken.clear();

  const auto time = steady_clock::now();
  while (!own.flights.empty()) {
    auto& oldest = own.flights.front();
    if (lost && oldest.generation != generation)
      own.settle(oldest, {.kind = Kind::transient, .error = "the connection was lost before the PubAck"},
                 out);
    else if (oldest.deadline <= time)
      own.settle(oldest, {.kind = Kind::transient, .error = own.no_answer()}, out);
    if (!oldest.done) break;
    own.flights.pop_front();
    ++own.first;
  }
  own.learn_from(out);
}

void EventPublisher::expect_answers_soon() { state_->hasten(after_error); }
std::size_t EventPublisher::in_flight() const { return state_->in_flight + state_->immediate.size(); }

}  // namespace tidings
