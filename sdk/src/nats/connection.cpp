#include "nats/connection_options.hpp"
#include "nats/connection_state.hpp"
#include "nats/handle.hpp"
#include "nats/tls_failure.hpp"
#include "redacted_url.hpp"
#include "retry_loop.hpp"

#include <tidings/connection.hpp>

#include <spdlog/spdlog.h>

#include <utility>

namespace tidings {

using std::chrono::milliseconds;

namespace {

/// A refusal explains a missing answer for this long, which is longer than anybody waits for one.
constexpr milliseconds refusal_counts_for{10000};

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

/// Throws: not retryable when the server refuses us, retryable when none answers.
void connect_once(Connection::State& state) {
  forget_tls_errors();
  // nats.c before 3.8 leaves out a signature whose first byte is zero: one of 256 logins that sign is
  // refused.
  auto status = NATS_CONNECTION_AUTH_FAILED;
  for (int tries = signs(state.options) ? 4 : 1; tries > 0 && status == NATS_CONNECTION_AUTH_FAILED; --tries)
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

}  // namespace

Connection::Connection(ConnectionOptions options) : state_(std::make_unique<State>(std::move(options))) {
  connect_once(*state_);
}

Connection::Connection(ConnectionOptions options, const std::stop_token& stop)
    : state_(std::make_unique<State>(std::move(options))) {
  bool logged = false;
  const auto log_once = [&logged](const Error& error) {
    if (!std::exchange(logged, true)) spdlog::warn("{}; waiting for it", error.what());
  };
  const auto connect = [this] { connect_once(*state_); };
  if (!retry(stop, connect, log_once)) throw NatsError("stopped while waiting for NATS", Error::Retry::yes);
}

Connection::~Connection() {
  observe({});
  flush(milliseconds{1000});
  state_->closing = true;
  natsConnection_Close(state_->connection);
  {
    // nats.c calls on_closed on a thread of its own, and the state must still be there.
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
  if (state_->refused) throw NatsError(*state_->refused);
  if (state_->closed)
    throw NatsError("NATS closed the connection for good (" + state_->last_error + ") with " +
                    login_method(state_->options) + ": check the NATS_* settings");
}

std::uint64_t Connection::generation() const noexcept { return state_->generation.load(); }

std::int64_t Connection::max_payload() const { return natsConnection_GetMaxPayload(state_->connection); }

std::string Connection::server() const { return server_of(state_->connection); }

std::string Connection::new_inbox() const {
  natsInbox* inbox = nullptr;
  check(natsInbox_Create(&inbox), "make an inbox subject");  // _INBOX.<unique>, whatever the prefix is
  const std::string subject = inbox;
  natsInbox_Destroy(inbox);
  return state_->options.inbox_prefix + subject.substr(subject.find('.'));
}

std::string Connection::refusal() const {
  const std::lock_guard lock{state_->mutex};
  return state_->refusals.latest(refusal_counts_for, std::chrono::steady_clock::now());
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
