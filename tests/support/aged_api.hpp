#pragma once

// A stream whose events are older than the server that holds them: a server gives no event another time than
// its own.

#include "nats/handle.hpp"
#include "nats/subscription.hpp"

#include <tidings/connection.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace tidings::test {

/// JetStream's API below another prefix, as an import from another account has it, where the oldest event of
/// each stream was stored in the year 2000.
class AgedApi {
 public:
  static constexpr const char* prefix = "AGED.API";

  explicit AgedApi(const std::string& url) : connection_(ConnectionOptions{.urls = {url}}) {
    subscription_ = std::make_unique<Subscription>(connection_, std::string{prefix} + ".>", forward, nullptr);
    (void)connection_.flush(std::chrono::seconds{5});
  }

 private:
  static void forward(natsConnection* connection, natsSubscription*, natsMsg* raw, void*) {
    const MessagePtr request{raw};
    const auto wanted = std::string_view{natsMsg_GetSubject(raw)}.substr(std::string_view{prefix}.size());
    const auto subject = "$JS.API" + std::string{wanted};
    const auto* const data = natsMsg_GetData(raw);
    const auto length = natsMsg_GetDataLength(raw);
    if (!wanted.starts_with(".STREAM.INFO.")) {
      natsConnection_PublishRequest(connection, subject.c_str(), natsMsg_GetReply(raw), data, length);
      return;
    }
    natsMsg* answered = nullptr;
    if (natsConnection_Request(&answered, connection, subject.c_str(), data, length, 5000) != NATS_OK) return;
    const MessagePtr answer{answered};
    auto info = nlohmann::json::parse(
        std::string{natsMsg_GetData(answered), static_cast<std::size_t>(natsMsg_GetDataLength(answered))});
    if (info.contains("state")) info["state"]["first_ts"] = "2000-01-01T00:00:00Z";
    natsConnection_PublishString(connection, natsMsg_GetReply(raw), info.dump().c_str());
  }

  Connection connection_;
  std::unique_ptr<Subscription> subscription_;
};

}  // namespace tidings::test
