#include "consumer/pull_loop.hpp"

#include "nats/leader_advisories.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

/// How long a pull lasts, how often the server shows life while it has no messages, and after what silence
/// the pull is taken for lost. A pull that is wrongly taken for lost stays open on the server until it
/// expires, and brings messages beside those of its successor: the sooner it expires, the fewer.
struct Pace {
  milliseconds expires, heartbeat, missed;
};
// Silence is noticed before a group whose leader is gone can have another (4 to 9 s).
constexpr Pace steady{milliseconds{10000}, milliseconds{1500}, milliseconds{4000}};
// A pull that meets no leader, or a durable that can be looked up and does not listen yet, is dropped
// without a word (2.9.10): until one has been answered, ask for quick signs.
constexpr Pace probing{milliseconds{1000}, milliseconds{250}, milliseconds{500}};

const Pace& pace_of(const PullLoop& loop) { return loop.is<PullLoop::Steady>() ? steady : probing; }

// A pull that runs out just when a message comes is dropped without a word (2.9.10): this long after its
// time, nothing will be heard of it any more.
constexpr milliseconds end_is_told_within{250};

// The server tells of a group's deletion before it has finished it (2.9.10): a group that is made again at
// once would be deleted with it.
constexpr milliseconds deletion_takes{200};
// Between a refused pull and a look at the group's limits, which may still be edited.
constexpr milliseconds refusal_pause{1000};

constexpr milliseconds pause_without_responders{100};
constexpr milliseconds pause_when_not_sent{100};
constexpr milliseconds pause_after_other_status{250};

constexpr int far_too_many = 2;  // times what is enough
constexpr milliseconds too_many_for{3000};

PullStatus::Kind kind_of(std::string_view code, std::string_view description) {
  using enum PullStatus::Kind;
  const auto says = [description](std::string_view words) {
    return description.find(words) != std::string_view::npos;
  };
  if (code == "400" || says("Exceeded MaxRequest")) return refused;
  if (code == "100") return heartbeat;
  if (code == "404" || code == "408") return ended;
  if (code == "503") return no_responders;
  if (code != "409") return other;
  if (says("Deleted")) return deleted;
  if (says("Batch Completed")) return completed;
  if (says("Leadership")) return leadership_change;
  if (says("push based")) return became_push;
  if (says("Exceeds MaxBytes")) return too_large;
  return other;
}

std::string_view header_value(natsMsg* message, const char* name) {
  const char* value = nullptr;
  return natsMsgHeader_Get(message, name, &value) == NATS_OK && value != nullptr ? value : std::string_view{};
}

}  // namespace

std::string PullRequest::json() const {
  auto text = "{\"batch\":" + std::to_string(count) + ",\"expires\":" + std::to_string(expires.count()) +
              ",\"idle_heartbeat\":" + std::to_string(heartbeat.count());
  if (max_bytes) text += ",\"max_bytes\":" + std::to_string(*max_bytes);
  return text + "}";
}

PullStatus PullStatus::parse(std::string_view code, std::string_view description, std::string_view pending) {
  PullStatus status;
  status.kind = kind_of(code, description);
  int count = 0;
  const auto [end, error] = std::from_chars(pending.data(), pending.data() + pending.size(), count);
  if (error == std::errc{} && end == pending.data() + pending.size()) status.missing = count;
  status.text = description;
  return status;
}

PullStatus PullStatus::of(natsMsg* message) {
  return parse(header_value(message, "Status"), header_value(message, "Description"),
               header_value(message, "Nats-Pending-Messages"));
}

PullLoop::PullLoop(const Group& group, Prefetch prefetch, Time now) : prefetch_(prefetch), last_sign_(now) {
  on_rejoined(group);
}

std::string PullLoop::refusal() const {
  if (const auto* refused = std::get_if<Refused>(&state_)) return refused->reason;
  if (const auto* rejoin = std::get_if<MustRejoin>(&state_)) return rejoin->refusal;
  return {};
}

void PullLoop::on_messages(std::size_t count, Time now) {
  expected_ = std::max(0, expected_ - static_cast<int>(count));
  on_sign_of_life(now);
}

/// Until the group is joined again, what the server says of older pulls does not count.
void PullLoop::on_sign_of_life(Time now) {
  if (!active()) return;
  enter(Steady{});
  last_sign_ = now;
}

void PullLoop::on_status(const PullStatus& status, Time now) {
  using Kind = PullStatus::Kind;
  if (status.kind == Kind::refused) {
    pull_anew();
    return enter(MustRejoin{refusal_pause, status.text});
  }
  if (status.kind == Kind::no_responders) {
    on_silence();
    return pause(pause_without_responders, now);
  }
  on_sign_of_life(now);
  switch (status.kind) {
    case Kind::ended:
      return on_ended(status);
    case Kind::too_large:
      next_ = NextPull::of_any_size;
      return on_ended(status);
    case Kind::leadership_change:
      expected_ = 0;
      return;
    case Kind::deleted:
      return on_deleted();
    case Kind::became_push:
      expected_ = 0;
      return enter(MustRejoin{});
    case Kind::other:
      on_ended(status);
      return pause(pause_after_other_status, now);
    default:
      return;
  }
}

void PullLoop::on_ended(const PullStatus& status) {
  expected_ = std::max(0, expected_ - status.missing.value_or(expected_));  // without a number: all of it
}

void PullLoop::on_silence() {
  pull_anew();
  if (active()) enter(Unanswered{});
}

/// All that was asked for is lost, or may be.
void PullLoop::pull_anew() {
  expected_ = 0;
  if (is<Steady>()) enter(Probing{});
}

/// A new leader at first still answers for pulls of the old one: wait until that is over.
void PullLoop::on_new_leader(Time now) {
  pull_anew();
  pause(leader_begins, now);
}

/// Requests die with the connection. The group may have been deleted meanwhile, and a pull from none gets no
/// answer at all (2.9.10). It is not looked up first: while it has no leader, that would take seconds.
void PullLoop::on_reconnect() {
  pull_again_ = {};
  pull_anew();
}

void PullLoop::on_deleted() {
  expected_ = 0;
  enter(MustRejoin{deletion_takes});
}

void PullLoop::on_rejoined(const Group& group) {
  max_request_batch_ = group.max_request_batch;
  max_expires_ = group.max_expires;
  // Two pulls may be open beside the messages that are here, and each message will be here twice.
  max_bytes_ = std::min(prefetch_.bytes / 8, group.max_request_bytes);
  if (auto reason = refusal(); !reason.empty())
    enter(Refused{std::move(reason)});
  else
    enter(Probing{});
}

void PullLoop::enter(State state) {
  if (!is<Stopped>()) state_ = std::move(state);
}

milliseconds PullLoop::longest_silence() const { return pace_of(*this).missed; }

bool PullLoop::silent(Time now) const {
  return active() && now >= pull_again_ && expected_ > 0 && now - last_sign_ > pace_of(*this).missed;
}

bool PullLoop::expired(Time now) const {
  return active() && expected_ > 0 && now > latest_end_ + end_is_told_within;
}

int PullLoop::enough() const {
  if (prefetch_.whole) return prefetch_.messages;
  return std::min(pace_.enough(prefetch_.handlers, prefetch_.messages) + behind_their_keys_,
                  prefetch_.messages);
}

std::size_t PullLoop::excess(std::size_t in_flight, Time now) {
  const auto keep = static_cast<std::size_t>(enough());
  if (prefetch_.whole || !active() || in_flight <= far_too_many * keep) {
    too_many_since_.reset();
    return 0;
  }
  if (!too_many_since_) too_many_since_ = now;
  if (now - *too_many_since_ < too_many_for) return 0;
  return in_flight - keep;
}

std::optional<PullRequest> PullLoop::due(std::size_t in_flight, std::size_t bytes, Time now) const {
  if (!active() || now < pull_again_) return std::nullopt;
  if (!missing_ && full(bytes)) return std::nullopt;
  const auto expires = std::min<nanoseconds>(pace_of(*this).expires, max_expires_);
  const auto heartbeat = std::min<nanoseconds>(pace_of(*this).heartbeat, expires / 2);
  if (missing_) {
    const int missing = std::min(*missing_ - expected_, max_request_batch_);
    return missing > 0 ? std::optional{PullRequest{missing, expires, heartbeat, std::nullopt}} : std::nullopt;
  }
  if (next_ == NextPull::of_any_size) return PullRequest{1, expires, heartbeat, std::nullopt};
  const int here = expected_ + static_cast<int>(in_flight), most = enough();
  // What waits for a retry takes room and keeps no handler busy.
  const int held = prefetch_.whole ? std::min(behind_their_keys_, here) : 0;
  if (here >= most || here - held > (most - held) / 2) return std::nullopt;
  // A server that stood still may serve all pulls that it did not answer once it goes on: each asks for one.
  const int count = is<Unanswered>() ? 1 : std::min(most - here, max_request_batch_);
  return PullRequest{count, expires, heartbeat, max_bytes_};
}

void PullLoop::on_sent(const PullRequest& request, Time now) {
  expected_ += request.count;
  last_sign_ = now;
  latest_end_ = std::max(latest_end_, now + std::chrono::ceil<Time::duration>(request.expires));
  next_ = NextPull::bounded;
}

void PullLoop::on_not_sent(Time now) { pause(pause_when_not_sent, now); }

PullLoop::Time PullLoop::next_alarm(Time now, Time latest) const {
  for (const auto alarm :
       {pull_again_, last_sign_ + pace_of(*this).missed, latest_end_ + end_is_told_within + milliseconds{1}})
    if (alarm > now) latest = std::min(latest, alarm);
  return latest;
}

}  // namespace tidings
