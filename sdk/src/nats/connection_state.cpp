#include "nats/connection_state.hpp"

#include "nats/connection_options.hpp"
#include "nats/tls_failure.hpp"
#include "redacted_url.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace tidings {
namespace {

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

/// Quick at first, then twice a second: a server's return is seen within a second, and a long
/// outage costs two connects a second at most.
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
  spdlog::info("nats reconnected server={}", server_of(connection));
  auto& state = *static_cast<Connection::State*>(closure);
  {
    const std::lock_guard lock{state.mutex};
    state.refused.reset();
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

}  // namespace

Connection::State::State(ConnectionOptions given) : options(std::move(given)) {
  natsOptions* raw = nullptr;
  check(natsOptions_Create(&raw), "make connection options");
  nats_options.reset(raw);
  apply(options, raw);
  check(natsOptions_SetMaxReconnect(raw, -1), "reconnect for ever");
  // nats.c would replay what was published while cut off; the relay must decide that itself, or
  // events would arrive twice and out of order.
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

void Connection::State::tell(bool now_connected) {
  const std::lock_guard lock{mutex};
  connected = now_connected;
  if (observer) observer(now_connected);
}

std::string server_of(natsConnection* connection) {
  std::array<char, 256> url{};
  if (natsConnection_GetConnectedUrl(connection, url.data(), url.size()) != NATS_OK) return {};
  return redacted_url(url.data());
}

}  // namespace tidings
