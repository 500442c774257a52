#include "nats/connection_options.hpp"
#include "nats/handle.hpp"
#include "nats/observers.hpp"
#include "nats/permission_errors.hpp"
#include "nats/server_url.hpp"
#include "nats/tls_failure.hpp"
#include "redacted_url.hpp"
#include "retry_loop.hpp"

#include <tidings/connection.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;

/// What a connection shares with nats.c's callbacks, which tell of cuts and refusals on threads of their own.
struct Connection::State {
  explicit State(ConnectionOptions options);

  static State& of(const Connection& connection) noexcept { return *connection.state_; }
  void tell(bool now_connected) {
    {
      const std::lock_guard lock{mutex};
      connected = now_connected;
      if (now_connected) refused.reset();
    }
    observers->tell(now_connected);
  }

  const ConnectionOptions options;
  const std::string api_prefix;
  OptionsPtr nats_options;
  natsConnection* connection = nullptr;
  jsCtx* jetstream = nullptr;

  std::atomic<bool> connected{false};
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> closing{false};  // by its owner: not worth a line in the log
  int hang_ups = 0;                  // in a row, after the TLS handshake and before the first connection

  const std::shared_ptr<Observers> observers = std::make_shared<Observers>();

  std::mutex mutex;
  std::condition_variable changed;
  // Under mutex:
  std::optional<std::string> closed;         // for good, and why
  std::vector<std::shared_ptr<void>> kept;   // until the connection is closed
  std::vector<std::shared_ptr<void>> ended;  // until a flush, when nothing can be on its way to them
  PermissionErrors refusals;
  int tls_refusals = 0;                // in a row, since the connection was lost
  std::optional<std::string> refused;  // what the latest of too many TLS refusals said
};

namespace {

/// A refusal explains a missing answer for this long, which is longer than anybody waits for one.
constexpr milliseconds refusal_counts_for{10000};

/// A server that dies just after the handshake does so once; one that refuses us does so each time.
constexpr int hang_ups_that_are_refusals = 5;

/// About 5 s: by then another server of a cluster has accepted us.
constexpr int tls_refusals_for_good = 12;

/// nats.c does not say why reconnecting fails. Before each round through the servers it asks for a delay;
/// then its last error can be read.
void watch_reconnect(Connection::State& state) {
  natsStatus status = NATS_OK;
  nats_GetLastError(&status);
  const auto failure = last_tls_failure(status);
  forget_tls_errors();
  const bool refused = failure.kind == TlsFailure::Kind::refused || failure.kind == TlsFailure::Kind::hung_up;
  const std::lock_guard lock{state.mutex};
  state.tls_refusals = refused ? state.tls_refusals + 1 : 0;
  state.refused.reset();
  if (state.tls_refusals == 1) spdlog::warn("{}", tls_refusal(state.options, failure.why));
  if (state.tls_refusals >= tls_refusals_for_good) state.refused = tls_refusal(state.options, failure.why);
}

/// Quick at first, then twice a second: a server's return is seen within a second, and a long outage costs
/// two connects a second at most.
int64_t reconnect_delay(natsConnection*, int attempts, void* closure) {
  watch_reconnect(*static_cast<Connection::State*>(closure));
  return attempts <= 1 ? 20 : std::min<int64_t>(500, 20LL << std::min(attempts, 5));
}

void on_disconnected(natsConnection*, void* closure) {
  auto& state = *static_cast<Connection::State*>(closure);
  state.connected = false;  // before the generation: who sees the new one must not take it for connected
  ++state.generation;
  if (!state.closing) spdlog::warn("nats disconnected servers=\"{}\"", redacted_urls(state.options.urls));
  state.tell(false);
}

void on_reconnected(natsConnection* connection, void* closure) {
  std::array<char, 256> url{};  // stays empty when the server is gone again
  natsConnection_GetConnectedUrl(connection, url.data(), url.size());
  spdlog::info("nats reconnected server={}", redacted_url(url.data()));
  static_cast<Connection::State*>(closure)->tell(true);
}

void on_closed(natsConnection* connection, void* closure) {
  auto& state = *static_cast<Connection::State*>(closure);
  const char* error = nullptr;
  natsConnection_GetLastError(connection, &error);
  ++state.generation;
  state.tell(false);
  const std::lock_guard lock{state.mutex};
  state.closed = error != nullptr ? error : "";
  state.changed.notify_all();
}

/// Without this, a refused request looks like a server that does not answer.
void on_refusal(Connection::State& state, const std::string& text) {
  {
    const std::lock_guard lock{state.mutex};
    if (!state.refusals.add(text, std::chrono::steady_clock::now())) return;
  }
  const bool answers = refused_subject(text).starts_with(state.options.inbox_prefix + ".");
  spdlog::warn("nats refuses login=\"{}\": {}: {}", login_method(state.options), text,
               answers ? "set NATS_INBOX_PREFIX to what this user may subscribe to"
                       : "grant it to this user on the server");
}

void on_error(natsConnection*, natsSubscription*, natsStatus status, void* closure) {
  natsStatus detailed = NATS_OK;
  const char* detail = nats_GetLastError(&detailed);
  const std::string text = detailed == status && detail != nullptr ? detail : natsStatus_GetText(status);
  if (status == NATS_NOT_PERMITTED) return on_refusal(*static_cast<Connection::State*>(closure), text);
  spdlog::debug("nats async error: {}", text);
}

void check_tls(Connection::State& state, natsStatus status) {
  using Kind = TlsFailure::Kind;
  const auto failure = last_tls_failure(status);
  state.hang_ups = failure.kind == Kind::hung_up ? state.hang_ups + 1 : 0;
  if (failure.kind == Kind::none) return;
  const bool may_pass = failure.kind != Kind::refused && state.hang_ups < hang_ups_that_are_refusals;
  throw NatsError(tls_refusal(state.options, failure.why), may_pass ? Error::Retry::yes : Error::Retry::no);
}

/// Throws: not retryable when the server refuses us, retryable when none answers.
void connect_once(Connection::State& state) {
  forget_tls_errors();
  // nats.c before 3.8 leaves out a signature whose first byte is zero: one of 256 such logins is refused.
  const bool signs = !state.options.credentials_file.empty() || !state.options.nkey_seed_file.empty();
  auto status = NATS_CONNECTION_AUTH_FAILED;
  for (int tries = signs ? 4 : 1; tries > 0 && status == NATS_CONNECTION_AUTH_FAILED; --tries)
    status = natsConnection_Connect(&state.connection, state.nats_options.get());
  if (status == NATS_CONNECTION_AUTH_FAILED)
    throw NatsError("NATS refuses the login at " + redacted_urls(state.options.urls) + " with " +
                    login_method(state.options) + ": check the NATS_* settings");
  check_tls(state, status);
  check(status, "connect to NATS at " + redacted_urls(state.options.urls));
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = 3000;
  options.Prefix = state.api_prefix.c_str();
  check(natsConnection_JetStream(&state.jetstream, state.connection, &options), "use JetStream");
  state.connected = true;
}

}  // namespace

Connection::State::State(ConnectionOptions given)
    : options(with_decoded_login(std::move(given))), api_prefix(jetstream_prefix(options)) {
  natsOptions* raw = nullptr;
  check(natsOptions_Create(&raw), "make connection options");
  nats_options.reset(raw);
  apply(options, raw);
  check(natsOptions_SetMaxReconnect(raw, -1), "reconnect for ever");
  // nats.c would replay what was published while cut off; the relay must decide that itself, or events would
  // arrive twice and out of order.
  check(natsOptions_SetReconnectBufSize(raw, 0), "turn the replay buffer off");
  check(natsOptions_SetWriteDeadline(raw, 5000), "bound a write");
  // A server whose host is gone closes no connection: after 6 s without a PONG it counts as lost.
  check(natsOptions_SetPingInterval(raw, 2000), "set the ping interval");
  check(natsOptions_SetMaxPingsOut(raw, 2), "set the pings");
  check(natsOptions_SetCustomReconnectDelay(raw, reconnect_delay, this), "set the reconnect delay");
  check(natsOptions_SetDisconnectedCB(raw, on_disconnected, this), "watch the connection");
  check(natsOptions_SetReconnectedCB(raw, on_reconnected, this), "watch the connection");
  check(natsOptions_SetClosedCB(raw, on_closed, this), "watch the connection");
  check(natsOptions_SetErrorHandler(raw, on_error, this), "watch the connection");
}

Connection::Connection(ConnectionOptions options) : state_(std::make_unique<State>(std::move(options))) {
  connect_once(*state_);
}

Connection::Connection(ConnectionOptions options, const std::stop_token& stop,
                       const std::function<void(const Error&)>& on_failure)
    : state_(std::make_unique<State>(std::move(options))) {
  bool logged = false;
  const auto failed = [&](const Error& error) {
    if (!std::exchange(logged, true)) spdlog::warn("{}; waiting for it", error.what());
    if (on_failure) on_failure(error);
  };
  const auto connect = [this] { connect_once(*state_); };
  if (!retry(stop, connect, failed)) throw NatsError("stopped while waiting for NATS", Error::Retry::yes);
}

Connection::~Connection() {
  state_->observers->clear();
  flush(milliseconds{1000});
  state_->closing = true;
  natsConnection_Close(state_->connection);
  {
    // nats.c calls on_closed on a thread of its own, and the state must still be there.
    std::unique_lock lock{state_->mutex};
    state_->changed.wait_for(lock, std::chrono::seconds{5}, [this] { return state_->closed.has_value(); });
  }
  state_->kept.clear();
  state_->ended.clear();
  jsCtx_Destroy(state_->jetstream);
  natsConnection_Destroy(state_->connection);
}

bool Connection::connected() const noexcept { return state_->connected.load(); }

void Connection::require_open() const {
  const std::lock_guard lock{state_->mutex};
  if (state_->refused) throw NatsError(*state_->refused);
  if (state_->closed)
    throw NatsError("NATS closed the connection for good (" + *state_->closed + ") with " +
                    login_method(state_->options) + ": check the NATS_* settings");
}

std::uint64_t Connection::generation() const noexcept { return state_->generation.load(); }
std::int64_t Connection::max_payload() const { return natsConnection_GetMaxPayload(state_->connection); }

std::string Connection::new_inbox() const {
  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "make an inbox subject");  // _INBOX.<unique>, whatever the prefix is
  const std::string subject = inbox;
  natsInbox_Destroy(inbox);
  return state_->options.inbox_prefix + subject.substr(subject.find('.'));
}

std::string Connection::refusal(const std::function<bool(std::string_view text)>& concerns) const {
  const std::lock_guard lock{state_->mutex};
  return state_->refusals.latest(refusal_counts_for, std::chrono::steady_clock::now(), concerns);
}

Connection::Observation Connection::observe(Observer observer) {
  return state_->observers->add(std::move(observer));
}

bool Connection::flush(milliseconds timeout) {
  if (!state_->connected) return false;
  std::vector<std::shared_ptr<void>> ended;
  {
    const std::lock_guard lock{state_->mutex};
    ended.swap(state_->ended);
  }
  if (natsConnection_FlushTimeout(state_->connection, timeout.count()) == NATS_OK) return true;
  const std::lock_guard lock{state_->mutex};
  std::ranges::move(ended, std::back_inserter(state_->ended));
  return false;
}

void Connection::keep(std::shared_ptr<void> handle) {
  const std::lock_guard lock{state_->mutex};
  state_->kept.push_back(std::move(handle));
}

natsConnection* native(const Connection& connection) noexcept {
  return Connection::State::of(connection).connection;
}

jsCtx* jetstream(const Connection& connection) noexcept {
  return Connection::State::of(connection).jetstream;
}

void destroy_later(Connection& connection, std::shared_ptr<void> handle) {
  auto& state = Connection::State::of(connection);
  const std::lock_guard lock{state.mutex};
  state.ended.push_back(std::move(handle));
}

const std::string& jetstream_prefix(const Connection& connection) noexcept {
  return Connection::State::of(connection).api_prefix;
}

}  // namespace tidings
