#pragma once

// nats.c's handles: their ownership, those behind a connection, which users of the SDK do not see, and the
// one gate through which its statuses pass.

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <nats/nats.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

template <auto Destroy>
struct Deleter {
  void operator()(auto* handle) const noexcept { Destroy(handle); }
};

using OptionsPtr = std::unique_ptr<natsOptions, Deleter<natsOptions_Destroy>>;
using MessagePtr = std::unique_ptr<natsMsg, Deleter<natsMsg_Destroy>>;
using StreamInfoPtr = std::unique_ptr<jsStreamInfo, Deleter<jsStreamInfo_Destroy>>;
using ConsumerInfoPtr = std::unique_ptr<jsConsumerInfo, Deleter<jsConsumerInfo_Destroy>>;
using PubAckPtr = std::unique_ptr<jsPubAck, Deleter<jsPubAck_Destroy>>;

// They belong to the connection and live as long as it does.
[[nodiscard]] natsConnection* native(const Connection& connection) noexcept;
[[nodiscard]] jsCtx* jetstream(const Connection& connection) noexcept;
/// What the subjects of JetStream's API begin with: `$JS.API`, or what the options say.
[[nodiscard]] const std::string& jetstream_prefix(const Connection& connection) noexcept;

/// For a subscription that has ended: while a message for it is on its way, destroying it crashes older
/// nats.c (nats.c #637). So it waits for the connection's next flush, or for its end.
void destroy_later(Connection& connection, std::shared_ptr<void> handle);

/// nats.c frees every message on one thread of its own, and waking that thread costs more than the message
/// did, so messages are handed over many at a time. Not thread-safe: each thread has its own.
class DiscardedMessages {
 public:
  void add(MessagePtr message) {
    bytes_ += static_cast<std::size_t>(natsMsg_GetDataLength(message.get()));
    messages_.push_back(std::move(message));
    if (messages_.size() < at_once && bytes_ < most_bytes) return;
    messages_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr std::size_t at_once = 128;
  static constexpr std::size_t most_bytes = 1U << 20U;
  std::size_t bytes_ = 0;
  std::vector<MessagePtr> messages_;
};

/// Throws NatsError "cannot <action>: <what nats.c says>". Everything but a bad argument, a refused login and
/// a denied permission may pass by itself, so it is retryable.
void check(natsStatus status, const std::string& action, jsErrCode code = jsErrCode{});

/// JetStream's number for an error as texts end with it, and what to do where that is known; empty for none.
[[nodiscard]] std::string jetstream_code(jsErrCode code);

}  // namespace tidings
