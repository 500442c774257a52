#include "consumer_run.hpp"

#include "ack_subject.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{1000};
constexpr milliseconds look_around{1000};  // between looks at the clock when nothing arrives
constexpr int prune_step = 1000;
constexpr seconds prune_interval{60};

ConnectionOptions named_connection(const ConsumerOptions& options) {
  auto connection = options.connection;
  connection.name = options.group;
  return connection;
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

/// Over the headers of an earlier message, whose memory is used again.
void read_headers(natsMsg* message, Headers& headers) {
  const char** names = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &names, &count) != NATS_OK) return headers.clear();  // it has none
  headers.resize(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const char* value = nullptr;
    auto& [its_name, its_value] = headers[static_cast<std::size_t>(i)];
    its_name = names[i];
    its_value = natsMsgHeader_Get(message, names[i], &value) == NATS_OK && value != nullptr ? value : "";
  }
  std::free(static_cast<void*>(names));
}

std::string_view payload(const Received& received) {
  return {natsMsg_GetData(received.native()),
          static_cast<std::size_t>(natsMsg_GetDataLength(received.native()))};
}

std::string_view type_in_subject(std::string_view subject, std::string_view prefix) {
  if (subject.size() <= prefix.size() + 1 || !subject.starts_with(prefix)) return {};
  return subject.substr(prefix.size() + 1);
}

}  // namespace

ConsumerRun::ConsumerRun(ConsumerEngine::State& state, const std::stop_token& stop)
    : state_(state),
      options_(state.options),
      stop_(stop),
      connection_(named_connection(options_), stop),
      dead_letters_(connection_, options_),
      handling_(state.inbox, state.handlers, options_),
      last_message_(Clock::now()) {}

void ConsumerRun::work() {
  if (stop_.stop_requested() || !join()) return;
  MessageSource source{connection_, *group_, options_.prefetch};
  last_message_ = Clock::now();
  while (!stop_.stop_requested() && !idle_for_too_long()) {
    connection_.require_open();
    auto batch = source.take(static_cast<std::size_t>(options_.max_batch), next_wait(), stop_);
    if (!batch.empty()) {
      state_.received += batch.size();
      handle(std::move(batch));
      last_message_ = Clock::now();  // time in handlers is not idle time
    }
    if (const auto delay = source.rejoin_after(); delay && !join_again(*delay)) break;
    prune_if_due();
  }
  source.stop(options_.drain_timeout, std::move(not_started_));
  connection_.flush(options_.drain_timeout);
}

/// Streams and durable, waiting for a JetStream that does not answer. False when stopped.
bool ConsumerRun::join() {
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

bool ConsumerRun::join_again(milliseconds delay) {
  pause(stop_, delay);
  const auto before = *group_;
  if (stop_.stop_requested() || !join()) return false;
  if (group_->deliver_subject != before.deliver_subject || group_->deliver_group != before.deliver_group)
    throw NatsError("the group " + options_.group +
                    " was changed between pull and push while this consumer ran: start it again");
  return true;
}

bool ConsumerRun::idle_for_too_long() const {
  return options_.exit_when_idle && Clock::now() - last_message_ >= *options_.exit_when_idle;
}

milliseconds ConsumerRun::next_wait() const {
  if (!options_.exit_when_idle) return look_around;
  const auto left = std::chrono::ceil<milliseconds>(last_message_ + *options_.exit_when_idle - Clock::now());
  return std::clamp(left, milliseconds{1}, look_around);
}

void ConsumerRun::handle(std::vector<Received> batch) {
  std::vector<std::pair<Received, Delivery>> again;
  for (auto& received : batch) {
    auto delivery = describe(received);
    const auto type = type_in_subject(delivery.subject, options_.subject_prefix);
    try {
      decode(delivery.headers, payload(received), type, delivery.event);
    } catch (const Undecodable& error) {
      delivery.event = {};
      delivery.event.type = type;
      bury(std::move(received), delivery, {.reason = error.what(), .attempts = 0});
      continue;
    }
    if (delivery.delivered > 1) {
      again.emplace_back(std::move(received), std::move(delivery));
    } else {
      first_.push_back(std::move(received));
      deliveries_.push_back(std::move(delivery));
    }
  }
  handle_together();
  for (auto& [received, delivery] : again) handle_alone(std::move(received), std::move(delivery));
}

/// What the message says of itself, before its event is decoded.
Delivery ConsumerRun::describe(const Received& received) {
  Delivery delivery;
  if (!spare_.empty()) {
    delivery = std::move(spare_.back());
    spare_.pop_back();
  }
  delivery.attempt = 0;
  delivery.subject = natsMsg_GetSubject(received.native());
  read_headers(received.native(), delivery.headers);
  const auto ack = AckSubject::parse(received.reply());
  delivery.stream = ack ? ack->stream : "";
  delivery.stream_sequence = ack ? ack->stream_sequence : 0;
  delivery.delivered = ack ? ack->delivered : 1;
  delivery.stored_at = Timestamp{
      std::chrono::duration_cast<milliseconds>(std::chrono::nanoseconds{ack ? ack->stored_at_ns : 0})};
  return delivery;
}

void ConsumerRun::handle_together() {
  std::size_t done = 0;
  while (done < first_.size() && !stop_.stop_requested()) {
    std::vector<Verdict> verdicts;
    const bool committed =
        persist(stop_, "inbox", [&] { verdicts = handling_.together(std::span{deliveries_}.subspan(done)); });
    if (!committed) break;
    ++state_.commits;
    for (const auto& verdict : verdicts) {
      settle(std::move(first_[done]), std::move(deliveries_[done]), verdict);
      ++done;
    }
  }
  for (; done < first_.size(); ++done) not_started_.push_back(std::move(first_[done]));
  first_.clear();
  deliveries_.clear();
}

void ConsumerRun::handle_alone(Received received, Delivery delivery) {
  Verdict verdict;
  if (stop_.stop_requested() || !persist(stop_, "inbox", [&] { verdict = handling_.alone(delivery); })) {
    not_started_.push_back(std::move(received));
    return;
  }
  ++state_.commits;
  settle(std::move(received), std::move(delivery), verdict);
}

/// After the inbox's commit: a crash in between costs a duplicate, never a loss.
void ConsumerRun::settle(Received received, Delivery delivery, const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::handled:
      ++state_.handled;
      std::move(received).ack();
      break;
    case Verdict::Kind::duplicate:
      ++state_.duplicates;
      std::move(received).ack();
      break;
    case Verdict::Kind::ignored:
      ++state_.ignored;
      std::move(received).ack();
      break;
    case Verdict::Kind::retry:
      ++state_.retried;
      spdlog::warn("retry id={} type={} attempt={} delay_ms={} reason=\"{}\"", delivery.event.id,
                   delivery.event.type, verdict.attempts, verdict.delay.count(), verdict.reason);
      std::move(received).give_back(verdict.delay);
      break;
    case Verdict::Kind::held_back:
      ++state_.held_back;
      std::move(received).give_back(verdict.delay);
      break;
    case Verdict::Kind::dead_letter:
      bury(std::move(received), delivery, verdict);
      break;
  }
  if (spare_.size() < static_cast<std::size_t>(options_.max_batch)) spare_.push_back(std::move(delivery));
}

/// Copy confirmed first, original ended after it. Without a confirmed copy the message stays.
void ConsumerRun::bury(Received received, const Delivery& delivery, const Verdict& verdict) {
  try {
    dead_letters_.publish({.delivery = delivery,
                           .payload = std::string{payload(received)},
                           .reason = verdict.reason,
                           .attempts = verdict.attempts});
  } catch (const NatsError& error) {
    spdlog::error("dead letter not stored, the message stays: id={} {}", delivery.event.id, error.what());
    return std::move(received).give_back(
        options_.backoff.delay(static_cast<int>(delivery.delivered), delivery.subject));
  }
  spdlog::error("dead letter id={} type={} sequence={} attempts={} reason=\"{}\"", delivery.event.id,
                delivery.event.type, delivery.stream_sequence, verdict.attempts, verdict.reason);
  ++state_.dead_lettered;
  std::move(received).terminate();
  if (!delivery.event.id.empty()) persist(stop_, "inbox", [&] { handling_.forget(delivery.event.id); });
}

void ConsumerRun::prune_if_due() {
  if (Clock::now() < prune_again_) return;
  persist(stop_, "inbox", [this] {
    const bool round_done = handling_.prune(options_.inbox_retention, prune_step);
    prune_again_ = Clock::now() + (round_done ? prune_interval : seconds{0});
  });
}

}  // namespace tidings
