#include "nats/handle.hpp"
#include "nats/native.hpp"
#include "nats/nkey.hpp"
#include "nats/permission_errors.hpp"
#include "nats/redacted_url.hpp"
#include "nats/tls_failure.hpp"

#include <tidings/connection.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;

struct Connection::State {
  static State& of(const Connection& connection) noexcept { return *connection.state_; }

  ConnectionOptions options;
  OptionsPtr nats_options;
  natsConnection* connection = nullptr;
  jsCtx* jetstream = nullptr;

  std::atomic<bool> connected{false};
  std::atomic<std::uint64_t> generation{0};
  std::atomic<bool> closing{false};  // by us: no news

  std::mutex mutex;
  std::condition_variable changed;
  Observer observer;                        // under mutex, also while it runs
  bool closed = false;                      // under mutex
  std::vector<std::shared_ptr<void>> kept;  // under mutex
  std::string last_error;
  PermissionErrors refusals;  // under mutex
  int hang_ups = 0;           // after the TLS handshake, one after the other, before the first connection
  int tls_refusals = 0;       // under mutex: one after the other, since the connection was lost
  std::string refused;        // under mutex: what the latest said, once there were enough

  void tell(bool now_connected) {
    const std::lock_guard lock{mutex};
    connected = now_connected;
    if (observer) observer(now_connected);
  }
};

namespace {

bool wants_tls(const ConnectionOptions& options) {
  return !options.ca_file.empty() || !options.cert_file.empty() ||
         std::any_of(options.urls.begin(), options.urls.end(),
                     [](const std::string& url) { return url.starts_with("tls://"); });
}

/// For error texts: which login was tried, never the secret.
std::string login_method(const ConnectionOptions& options) {
  if (!options.credentials_file.empty()) return "credentials file " + options.credentials_file;
  if (!options.nkey_seed_file.empty()) return "nkey seed file " + options.nkey_seed_file;
  if (!options.user.empty()) return "user " + options.user + " and password";
  if (!options.token.empty()) return "token";
  return "no login (or the one in the URL)";
}

/// For error texts: what TLS was tried with.
std::string tls_method(const ConnectionOptions& options) {
  return "TLS with " +
         (options.ca_file.empty() ? "the CAs of the system (NATS_CA is not set)"
                                  : "NATS_CA " + options.ca_file) +
         " and " +
         (options.cert_file.empty() ? "no client certificate (NATS_CERT is not set)"
                                    : "client certificate " + options.cert_file);
}

std::string redacted_urls(const std::vector<std::string>& urls) {
  std::string list;
  for (const auto& url : urls) list += (list.empty() ? "" : ", ") + redacted_url(url);
  return list;
}

/// What goes wrong with TLS says little without the files that were used.
std::string tls_refusal(const ConnectionOptions& options, const std::string& why) {
  return "cannot connect to NATS at " + redacted_urls(options.urls) + ": " + why + "; tried was " +
         tls_method(options);
}

/// About 5 s: of a cluster, another server takes us by then.
constexpr int tls_refusals_for_good = 12;

/// A lost connection is tried again on a thread of nats.c, which tells nobody why that fails. It asks here
/// before each round through the servers.
void watch_reconnect(Connection::State& state) {
  natsStatus status = NATS_OK;
  nats_GetLastError(&status);
  const auto failure = last_tls_failure(status);
  forget_tls_errors();
  const bool refused = failure.kind == TlsFailure::Kind::refused || failure.kind == TlsFailure::Kind::hung_up;
  const std::lock_guard lock{state.mutex};
  state.tls_refusals = refused ? state.tls_refusals + 1 : 0;
  state.refused.clear();
  if (state.tls_refusals == 1) spdlog::warn("{}", tls_refusal(state.options, failure.why));
  if (state.tls_refusals >= tls_refusals_for_good) state.refused = tls_refusal(state.options, failure.why);
}

/// Quick at first, then twice a second: a server's return is seen within a second, and a long
/// outage costs two connects a second at most.
int64_t reconnect_delay(natsConnection*, int attempts, void* closure) {
  watch_reconnect(*static_cast<Connection::State*>(closure));
  return attempts <= 1 ? 20 : std::min<int64_t>(500, 20LL << std::min(attempts, 5));
}

void on_disconnected(natsConnection*, void* closure) {
  auto& state = *static_cast<Connection::State*>(closure);
  state.connected = false;  // before the generation: whoever sees the new one must not take it for connected
  ++state.generation;
  if (!state.closing) spdlog::warn("nats disconnected servers=\"{}\"", redacted_urls(state.options.urls));
  state.tell(false);
}

void on_reconnected(natsConnection* connection, void* closure) {
  std::array<char, 256> url{};
  natsConnection_GetConnectedUrl(connection, url.data(), url.size());
  spdlog::info("nats reconnected server={}", redacted_url(url.data()));
  auto& state = *static_cast<Connection::State*>(closure);
  {
    const std::lock_guard lock{state.mutex};
    state.refused.clear();
  }
  state.tell(true);
}

void on_closed(natsConnection* connection, void* closure) {
  auto& state = *static_cast<Connection::State*>(closure);
  const char* error = nullptr;
  natsConnection_GetLastError(connection, &error);
  ++state.generation;
  state.tell(false);
  const std::lock_guard lock{state.mutex};
  state.last_error = error != nullptr ? error : "";
  state.closed = true;
  state.changed.notify_all();
}

/// Without this, what the server refuses looks like a server that does not answer.
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

void apply_login(natsOptions* target, const ConnectionOptions& options) {
  if (!options.credentials_file.empty()) {
    check_credentials(options.credentials_file);
    check(natsOptions_SetUserCredentialsFromFiles(target, options.credentials_file.c_str(), nullptr),
          "use credentials file " + options.credentials_file);
  } else if (!options.nkey_seed_file.empty()) {
    check(natsOptions_SetNKeyFromSeed(target, nkey_public(options.nkey_seed_file).c_str(),
                                      options.nkey_seed_file.c_str()),
          "use nkey seed file " + options.nkey_seed_file);
  } else if (!options.user.empty()) {
    check(natsOptions_SetUserInfo(target, options.user.c_str(), options.password.c_str()), "use NATS_USER");
  } else if (!options.token.empty()) {
    check(natsOptions_SetToken(target, options.token.c_str()), "use NATS_TOKEN");
  }
}

void apply_tls(natsOptions* target, const ConnectionOptions& options) {
  if (!wants_tls(options)) return;
  check(natsOptions_SetSecure(target, true), "turn TLS on");
  if (!options.ca_file.empty())
    check(natsOptions_LoadCATrustedCertificates(target, options.ca_file.c_str()),
          "load NATS_CA " + options.ca_file);
  if (!options.cert_file.empty())
    check(natsOptions_LoadCertificatesChain(target, options.cert_file.c_str(), options.key_file.c_str()),
          "load NATS_CERT " + options.cert_file + " and NATS_KEY " + options.key_file);
}

OptionsPtr make_options(Connection::State& state) {
  natsOptions* raw = nullptr;
  check(natsOptions_Create(&raw), "make connection options");
  OptionsPtr made{raw};
  const auto& options = state.options;
  std::vector<const char*> urls;
  for (const auto& url : options.urls) urls.push_back(url.c_str());
  check(natsOptions_SetServers(raw, urls.data(), static_cast<int>(urls.size())),
        "use the servers " + redacted_urls(options.urls));
  check(natsOptions_SetName(raw, options.name.c_str()), "name the connection");
  check(natsOptions_SetCustomInboxPrefix(raw, options.inbox_prefix.c_str()),
        "use NATS_INBOX_PREFIX " + options.inbox_prefix);
  check(natsOptions_SetTimeout(raw, options.connect_timeout.count()), "set the connect timeout");
  check(natsOptions_SetMaxReconnect(raw, -1), "reconnect for ever");
  check(natsOptions_SetCustomReconnectDelay(raw, reconnect_delay, &state), "set the reconnect delay");
  // nats.c would replay what was published while cut off; the relay must decide that itself, or
  // events would arrive twice and out of order.
  check(natsOptions_SetReconnectBufSize(raw, 0), "turn the replay buffer off");
  check(natsOptions_SetWriteDeadline(raw, 5000), "bound a write");
  // A server whose host is gone closes nothing: it is left for another within 6 s.
  check(natsOptions_SetPingInterval(raw, 2000), "set the ping interval");
  check(natsOptions_SetMaxPingsOut(raw, 2), "set the pings");
  check(natsOptions_SetDisconnectedCB(raw, on_disconnected, &state), "watch the connection");
  check(natsOptions_SetReconnectedCB(raw, on_reconnected, &state), "watch the connection");
  check(natsOptions_SetClosedCB(raw, on_closed, &state), "watch the connection");
  check(natsOptions_SetErrorHandler(raw, on_error, &state), "watch the connection");
  apply_login(raw, options);
  apply_tls(raw, options);
  return made;
}

/// Longer than anybody waits for an answer that does not come.
constexpr milliseconds refusal_is_news{10000};

/// A server that dies just after the handshake does so once; one that refuses us does so each time.
constexpr int hang_ups_that_are_refusals = 5;

void check_tls(Connection::State& state, natsStatus status) {
  using Kind = TlsFailure::Kind;
  const auto failure = last_tls_failure(status);
  state.hang_ups = failure.kind == Kind::hung_up ? state.hang_ups + 1 : 0;
  if (failure.kind == Kind::none) return;
  const bool may_pass = failure.kind != Kind::refused && state.hang_ups < hang_ups_that_are_refusals;
  throw NatsError(tls_refusal(state.options, failure.why), may_pass ? Error::Retry::yes : Error::Retry::no);
}

/// nats.c before 3.8 leaves out a signature whose first byte is zero: of each 256 logins that sign, one is
/// refused.
bool signs(const ConnectionOptions& options) {
  return !options.credentials_file.empty() || !options.nkey_seed_file.empty();
}

/// Throws: not retryable when the server refuses us, retryable when none answers.
void connect_once(Connection::State& state) {
  forget_tls_errors();
  auto status = natsConnection_Connect(&state.connection, state.nats_options.get());
  for (int again = signs(state.options) ? 3 : 0; again > 0 && status == NATS_CONNECTION_AUTH_FAILED; --again)
    status = natsConnection_Connect(&state.connection, state.nats_options.get());
  if (status == NATS_CONNECTION_AUTH_FAILED)
    throw NatsError("NATS refuses the login at " + redacted_urls(state.options.urls) + " with " +
                    login_method(state.options) + ": check the NATS_* settings");
  check_tls(state, status);
  check(status, "connect to NATS at " + redacted_urls(state.options.urls));
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = 3000;
  check(natsConnection_JetStream(&state.jetstream, state.connection, &options), "use JetStream");
  state.connected = true;
}

void wait_before_retry(Connection::State& state, const std::stop_token& stop, milliseconds delay) {
  std::condition_variable_any wake;
  std::unique_lock lock{state.mutex};
  wake.wait_for(lock, stop, delay, [] { return false; });
}

void connect_when_possible(Connection::State& state, const std::stop_token& stop) {
  for (milliseconds delay{20};; delay = std::min<milliseconds>(delay * 2, std::chrono::seconds{1})) {
    try {
      connect_once(state);
      return;
    } catch (const NatsError& error) {
      if (!error.retryable()) throw;
      if (delay == milliseconds{20}) spdlog::warn("{}; waiting for it", error.what());
    }
    wait_before_retry(state, stop, delay);
    if (stop.stop_requested()) throw NatsError("stopped while waiting for NATS", Error::Retry::yes);
  }
}

}  // namespace

Connection::Connection(ConnectionOptions options, const std::stop_token& stop)
    : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  state_->nats_options = make_options(*state_);
  connect_when_possible(*state_, stop);
}

Connection::Connection(ConnectionOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  state_->nats_options = make_options(*state_);
  connect_once(*state_);
}

Connection::~Connection() {
  observe({});
  flush(milliseconds{1000});
  state_->closing = true;
  natsConnection_Close(state_->connection);
  {
    // nats.c tells of the close on a thread of its own; it must not find the state gone.
    std::unique_lock lock{state_->mutex};
    state_->changed.wait_for(lock, std::chrono::seconds{5}, [this] { return state_->closed; });
  }
  state_->kept.clear();
  jsCtx_Destroy(state_->jetstream);
  natsConnection_Destroy(state_->connection);
}

bool Connection::connected() const noexcept { return state_->connected.load(); }

void Connection::require_open() const {
  const std::lock_guard lock{state_->mutex};
  if (!state_->refused.empty()) throw NatsError(state_->refused);
  if (state_->closed)
    throw NatsError("NATS closed the connection for good (" + state_->last_error + ") with " +
                    login_method(state_->options) + ": check the NATS_* settings");
}

std::uint64_t Connection::generation() const noexcept { return state_->generation.load(); }

std::int64_t Connection::max_payload() const { return natsConnection_GetMaxPayload(state_->connection); }

std::string Connection::server() const {
  std::array<char, 256> url{};
  if (natsConnection_GetConnectedUrl(state_->connection, url.data(), url.size()) != NATS_OK) return {};
  return redacted_url(url.data());
}

std::string Connection::new_inbox() const {
  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "make an inbox subject");  // _INBOX.<unique>, whatever the prefix is
  const std::string subject = inbox;
  natsInbox_Destroy(inbox);
  return state_->options.inbox_prefix + subject.substr(subject.find('.'));
}

std::string Connection::refusal() const {
  const std::lock_guard lock{state_->mutex};
  return state_->refusals.latest(refusal_is_news, std::chrono::steady_clock::now());
}

void Connection::observe(Observer observer) {
  const std::lock_guard lock{state_->mutex};
  state_->observer = std::move(observer);
}

bool Connection::flush(milliseconds timeout) {
  if (!state_->connected) return false;
  return natsConnection_FlushTimeout(state_->connection, timeout.count()) == NATS_OK;
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

}  // namespace tidings
