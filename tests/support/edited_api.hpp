#pragma once

// JetStream's API with answers that a real server gives only now and then, or years later.

#include "nats/handle.hpp"
#include "nats/subscription.hpp"

#include <tidings/connection.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace tidings::test {

/// JetStream's API below another prefix, as an import from another account has it. Answers to requests that
/// begin with `wanted` ("STREAM.INFO.") are changed on their way, by one thread.
class EditedApi {
 public:
  using Edit = std::function<void(nlohmann::json& answer)>;
  static constexpr const char* prefix = "EDITED.API";

  EditedApi(const std::string& url, std::string wanted, Edit edit)
      : connection_(ConnectionOptions{.urls = {url}}) {
    subscription_ =
        std::make_unique<Subscription>(connection_, std::string{prefix} + ".>", forward,
                                       std::make_shared<Editor>(std::move(wanted), std::move(edit)));
    (void)connection_.flush(std::chrono::seconds{5});
  }

 private:
  struct Editor {
    Editor(std::string its_wanted, Edit its_edit)
        : wanted(std::move(its_wanted)), edit(std::move(its_edit)) {}
    const std::string wanted;
    const Edit edit;
  };

  static void forward(natsConnection* connection, natsSubscription*, natsMsg* raw, void* closure) {
    const MessagePtr message{raw};
    const auto& editor = *static_cast<Editor*>(closure);
    const auto request =
        std::string_view{natsMsg_GetSubject(raw)}.substr(std::string_view{prefix}.size() + 1);
    const auto subject = "$JS.API." + std::string{request};
    const auto* const data = natsMsg_GetData(raw);
    const auto length = natsMsg_GetDataLength(raw);
    if (!request.starts_with(editor.wanted)) {
      natsConnection_PublishRequest(connection, subject.c_str(), natsMsg_GetReply(raw), data, length);
      return;
    }
    natsMsg* answered = nullptr;
    if (natsConnection_Request(&answered, connection, subject.c_str(), data, length, 5000) != NATS_OK) return;
    const MessagePtr answer{answered};
    auto edited = nlohmann::json::parse(
        std::string{natsMsg_GetData(answered), static_cast<std::size_t>(natsMsg_GetDataLength(answered))});
    editor.edit(edited);
    natsConnection_PublishString(connection, natsMsg_GetReply(raw), edited.dump().c_str());
  }

  Connection connection_;
  std::unique_ptr<Subscription> subscription_;
};

/// A stream whose events are older than the server that holds them: a server gives no event another time than
/// its own.
inline EditedApi aged_api(const std::string& url) {
  return {url, "STREAM.INFO.", [](nlohmann::json& info) {
            if (info.contains("state")) info["state"]["first_ts"] = "2000-01-01T00:00:00Z";
          }};
}

}  // namespace tidings::test
