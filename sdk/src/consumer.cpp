#include "ack_subject.hpp"
#include "dead_letter.hpp"
#include "group.hpp"
#include "handling.hpp"
#include "message_source.hpp"

#include <tidings/consumer.hpp>
#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <span>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{1000};
constexpr milliseconds look_around{1000};  // between looks at the clock when nothing arrives
constexpr int prune_step = 1000;
constexpr seconds prune_interval{60};

void require(bool holds, const char* option, const std::string& value, const char* takes) {
  if (!holds)
    throw SettingError(std::string("ConsumerOptions::") + option + "=" + value + ": takes " + takes);
}

bool is_name(const std::string& name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !name.empty() && name.size() < 32 && name.find_first_not_of(letters) == std::string::npos;
}

/// Tokens with dots between them, no wildcards.
bool is_prefix(const std::string& subject) {
  const auto illegal = [](char letter) {
    return letter <= ' ' || letter == '*' || letter == '>' || letter == '\x7f';
  };
  return !subject.empty() && subject.front() != '.' && subject.back() != '.' &&
         subject.find("..") == std::string::npos && std::ranges::none_of(subject, illegal);
}

std::string text(milliseconds time) { return std::to_string(time.count()); }

void validate(const ConsumerOptions& options) {
  constexpr const char* name_rule = "1 to 31 letters, digits, _ or -";
  require(is_name(options.group), "group", options.group, name_rule);
  require(is_name(options.stream), "stream", options.stream, name_rule);
  require(is_name(options.dead_letter_stream), "dead_letter_stream", options.dead_letter_stream, name_rule);
  constexpr const char* prefix_rule = "a subject without wildcards";
  require(is_prefix(options.subject_prefix), "subject_prefix", options.subject_prefix, prefix_rule);
  require(is_prefix(options.dead_letter_prefix), "dead_letter_prefix", options.dead_letter_prefix,
          prefix_rule);
  require(options.max_attempts >= 1, "max_attempts", std::to_string(options.max_attempts), "at least 1");
  require(options.backoff.base.count() > 0 && options.backoff.max >= options.backoff.base, "backoff",
          text(options.backoff.base) + "…" + text(options.backoff.max), "0 < base <= max");
  require(options.ack_wait >= milliseconds{100}, "ack_wait", text(options.ack_wait), "at least 100 ms");
  require(options.max_batch >= 1 && options.max_batch <= 10000, "max_batch",
          std::to_string(options.max_batch), "1 to 10000");
  require(options.prefetch >= options.max_batch && options.prefetch <= 100000, "prefetch",
          std::to_string(options.prefetch), "max_batch to 100000");
  require(options.max_batch_time.count() >= 0, "max_batch_time", text(options.max_batch_time),
          "0 ms or more");
  require(options.inbox_retention.count() >= 1, "inbox_retention",
          std::to_string(options.inbox_retention.count()), "at least 1 hour");
  require(!options.exit_when_idle || options.exit_when_idle->count() > 0, "exit_when_idle",
          text(options.exit_when_idle.value_or(milliseconds{})), "at least 1 ms, or nothing");
  require(options.drain_timeout.count() > 0, "drain_timeout", text(options.drain_timeout), "at least 1 ms");
}

void pause(const std::stop_token& stop, milliseconds duration) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, stop, duration, [] { return false; });
}

/// Calls `work` until it ends without a retryable error, once at least. False when `stop` came first.
template <class Work>
bool persist(const std::stop_token& stop, const char* what, Work&& work) {
  std::string told;
  for (milliseconds delay = first_pause;; delay = std::min(delay * 2, longest_pause)) {
    try {
      work();
      if (!told.empty()) spdlog::info("{}: resumed", what);
      return true;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      // One line for each trouble, not for each try.
      if (told != error.what()) spdlog::warn("{}: {}; trying again", what, error.what());
      told = error.what();
    }
    pause(stop, delay);
    if (stop.stop_requested()) return false;
  }
}

Headers read_headers(natsMsg* message) {
  Headers headers;
  const char** names = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &names, &count) != NATS_OK) return headers;  // it has none
  headers.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const char* value = nullptr;
    if (natsMsgHeader_Get(message, names[i], &value) == NATS_OK)
      headers.emplace_back(names[i], value != nullptr ? value : "");
  }
  std::free(static_cast<void*>(names));
  return headers;
}

std::string_view payload(const Received& received) {
  return {natsMsg_GetData(received.native()),
          static_cast<std::size_t>(natsMsg_GetDataLength(received.native()))};
}

/// What the message says of itself, before its event is decoded.
Delivery describe(const Received& received) {
  Delivery delivery;
  delivery.attempt = 0;
  delivery.subject = natsMsg_GetSubject(received.native());
  delivery.headers = read_headers(received.native());
  if (const auto ack = AckSubject::parse(received.reply())) {
    delivery.stream = ack->stream;
    delivery.stream_sequence = ack->stream_sequence;
    delivery.delivered = ack->delivered;
    delivery.stored_at =
        Timestamp{std::chrono::duration_cast<milliseconds>(std::chrono::nanoseconds{ack->stored_at_ns})};
  }
  return delivery;
}

std::string_view type_in_subject(std::string_view subject, std::string_view prefix) {
  if (subject.size() <= prefix.size() + 1 || !subject.starts_with(prefix)) return {};
  return subject.substr(prefix.size() + 1);
}

}  // namespace

struct ConsumerEngine::State {
  State(Inbox& its_inbox, ConsumerOptions its_options) : inbox(its_inbox), options(std::move(its_options)) {}

  Inbox& inbox;
  const ConsumerOptions options;
  Handling::Handlers handlers;
  std::atomic<bool> running{false};

  std::atomic<std::uint64_t> received{0}, handled{0}, duplicates{0}, retried{0}, dead_lettered{0}, ignored{0},
      commits{0};
};

namespace {

/// A message at hand and what is known of it.
struct Item {
  Received received;
  Delivery delivery;
};

/// One run of a consumer, from connecting to drained.
class Run {
 public:
  Run(ConsumerEngine::State& state, const std::stop_token& stop)
      : state_(state),
        options_(state.options),
        stop_(stop),
        connection_(connection_options(options_), stop),
        dead_letters_(connection_, options_),
        handling_(state.inbox, state.handlers, options_),
        last_message_(steady_clock::now()) {}

  void operator()() {
    if (stop_.stop_requested() || !join()) return;
    MessageSource source{connection_, *group_, options_.prefetch};
    last_message_ = steady_clock::now();
    while (!stop_.stop_requested() && !idle_for_too_long()) {
      connection_.require_open();
      auto batch = source.take(static_cast<std::size_t>(options_.max_batch), next_wait(), stop_);
      if (!batch.empty()) {
        state_.received += batch.size();
        handle(std::move(batch));
        last_message_ = steady_clock::now();  // time in handlers is not idle time
      }
      if (const auto delay = source.rejoin_after(); delay && !join_again(*delay)) break;
      prune_if_due();
    }
    source.stop(options_.drain_timeout, std::move(not_started_));
    connection_.flush(options_.drain_timeout);
  }

 private:
  static ConnectionOptions connection_options(const ConsumerOptions& options) {
    auto connection = options.connection;
    connection.name = options.group;
    return connection;
  }

  /// Streams and durable, waiting for a JetStream that does not answer. False when stopped.
  bool join() {
    return persist(stop_, "joining the group", [this] {
      if (options_.manage_streams) {
        // Only a publisher knows its dedup window: an existing stream's is not ours to judge.
        ensure_stream(connection_, {.name = options_.stream,
                                    .subjects = {options_.subject_prefix + ".>"},
                                    .duplicate_window = seconds{0}});
        dead_letters_.ensure();
      }
      group_ = join_group(connection_, options_);
    });
  }

  bool join_again(milliseconds delay) {
    pause(stop_, delay);
    const auto before = *group_;
    if (stop_.stop_requested() || !join()) return false;
    if (group_->deliver_subject != before.deliver_subject || group_->deliver_group != before.deliver_group)
      throw NatsError("the group " + options_.group +
                      " was changed between pull and push while this consumer ran: start it again");
    return true;
  }

  bool idle_for_too_long() const {
    return options_.exit_when_idle && steady_clock::now() - last_message_ >= *options_.exit_when_idle;
  }

  milliseconds next_wait() const {
    if (!options_.exit_when_idle) return look_around;
    const auto left =
        std::chrono::ceil<milliseconds>(last_message_ + *options_.exit_when_idle - steady_clock::now());
    return std::clamp(left, milliseconds{1}, look_around);
  }

  void handle(std::vector<Received> batch) {
    std::vector<Item> first, again;
    for (auto& received : batch) {
      auto delivery = describe(received);
      try {
        delivery.event = decode(delivery.headers, payload(received),
                                type_in_subject(delivery.subject, options_.subject_prefix));
      } catch (const Undecodable& error) {
        delivery.event.type = type_in_subject(delivery.subject, options_.subject_prefix);
        bury({std::move(received), std::move(delivery)}, {.reason = error.what(), .attempts = 0});
        continue;
      }
      auto& list = delivery.delivered > 1 ? again : first;
      list.push_back({std::move(received), std::move(delivery)});
    }
    handle_together(std::move(first));
    for (auto& item : again) handle_alone(std::move(item));
  }

  void handle_together(std::vector<Item> items) {
    std::vector<Delivery> deliveries;
    deliveries.reserve(items.size());
    for (auto& item : items) deliveries.push_back(std::move(item.delivery));
    std::size_t done = 0;
    while (done < items.size() && !stop_.stop_requested()) {
      std::vector<Verdict> verdicts;
      const bool committed = persist(
          stop_, "inbox", [&] { verdicts = handling_.together(std::span{deliveries}.subspan(done)); });
      if (!committed) break;
      ++state_.commits;
      for (auto& verdict : verdicts) {
        settle({std::move(items[done].received), std::move(deliveries[done])}, std::move(verdict));
        ++done;
      }
    }
    for (; done < items.size(); ++done) not_started_.push_back(std::move(items[done].received));
  }

  void handle_alone(Item item) {
    Verdict verdict;
    if (stop_.stop_requested() ||
        !persist(stop_, "inbox", [&] { verdict = handling_.alone(item.delivery); })) {
      not_started_.push_back(std::move(item.received));
      return;
    }
    ++state_.commits;
    settle(std::move(item), std::move(verdict));
  }

  /// After the inbox's commit: a crash in between costs a duplicate, never a loss.
  void settle(Item item, Verdict verdict) {
    switch (verdict.kind) {
      case Verdict::Kind::handled:
        ++state_.handled;
        return std::move(item.received).ack();
      case Verdict::Kind::duplicate:
        ++state_.duplicates;
        return std::move(item.received).ack();
      case Verdict::Kind::ignored:
        ++state_.ignored;
        return std::move(item.received).ack();
      case Verdict::Kind::retry:
        ++state_.retried;
        spdlog::warn("retry id={} type={} attempt={} delay_ms={} reason=\"{}\"", item.delivery.event.id,
                     item.delivery.event.type, verdict.attempts, verdict.delay.count(), verdict.reason);
        return std::move(item.received).give_back(verdict.delay);
      case Verdict::Kind::dead_letter:
        return bury(std::move(item), verdict);
    }
  }

  /// Copy confirmed first, original ended after it. Without a confirmed copy the message stays.
  void bury(Item item, const Verdict& verdict) {
    const auto& delivery = item.delivery;
    try {
      dead_letters_.publish({.delivery = delivery,
                             .payload = std::string{payload(item.received)},
                             .reason = verdict.reason,
                             .attempts = verdict.attempts});
    } catch (const NatsError& error) {
      spdlog::error("dead letter not stored, the message stays: id={} {}", delivery.event.id, error.what());
      return std::move(item.received)
          .give_back(options_.backoff.delay(static_cast<int>(delivery.delivered), delivery.subject));
    }
    spdlog::error("dead letter id={} type={} sequence={} attempts={} reason=\"{}\"", delivery.event.id,
                  delivery.event.type, delivery.stream_sequence, verdict.attempts, verdict.reason);
    ++state_.dead_lettered;
    const auto id = delivery.event.id;
    std::move(item.received).terminate();
    if (!id.empty()) persist(stop_, "inbox", [&] { handling_.forget(id); });
  }

  void prune_if_due() {
    if (steady_clock::now() < prune_again_) return;
    persist(stop_, "inbox", [this] {
      const bool round_done = handling_.prune(options_.inbox_retention, prune_step);
      prune_again_ = steady_clock::now() + (round_done ? prune_interval : seconds{0});
    });
  }

  ConsumerEngine::State& state_;
  const ConsumerOptions& options_;
  std::stop_token stop_;
  Connection connection_;
  DeadLetters dead_letters_;
  Handling handling_;
  std::optional<Group> group_;
  std::vector<Received> not_started_;  // at a stop: given back once the server sends us no more
  steady_clock::time_point last_message_;
  steady_clock::time_point prune_again_{};
};

}  // namespace

ConsumerEngine::ConsumerEngine(Inbox& inbox, ConsumerOptions options) {
  validate(options);
  state_ = std::make_unique<State>(inbox, std::move(options));
  inbox.join(state_->options.group);
}

ConsumerEngine::~ConsumerEngine() = default;

void ConsumerEngine::on(const std::string& type, Handler handler) {
  if (state_->running) throw Error("handler for " + type + " comes too late: add handlers before run()");
  if (!state_->handlers.emplace(type, std::move(handler)).second)
    throw Error("there is a handler for " + type + " already: one for each type");
}

void ConsumerEngine::run(const std::stop_token& stop) {
  if (state_->handlers.empty()) throw Error("no handler: call on() before run()");
  if (state_->running.exchange(true)) throw Error("this consumer is running already");
  struct Ended {
    std::atomic<bool>& running;
    ~Ended() { running = false; }
  } const ended{state_->running};
  try {
    Run run{*state_, stop};
    run();
  } catch (const Error& error) {
    if (!error.retryable() || !stop.stop_requested()) throw;  // stopped while it waited for NATS
  }
}

ConsumerStats ConsumerEngine::stats() const {
  const auto& state = *state_;
  return {.received = state.received,
          .handled = state.handled,
          .duplicates = state.duplicates,
          .retried = state.retried,
          .dead_lettered = state.dead_lettered,
          .ignored = state.ignored,
          .commits = state.commits};
}

}  // namespace tidings
