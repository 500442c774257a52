#include "stream_reader.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

namespace tidings {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::uint64_t at_once = 1000;
constexpr seconds longest_silence{5};

Json config_of(const StreamPart& part) {
  Json config{{"deliver_policy", part.since ? "by_start_time" : "all"},
              {"ack_policy", "none"},
              {"replay_policy", "instant"},
              {"headers_only", true},
              {"mem_storage", true},
              // The server deletes it should we die. Long, as our output may be read through a pager.
              {"inactive_threshold", nanoseconds{std::chrono::minutes{10}}.count()}};
  if (part.since) config["opt_start_time"] = to_iso8601(*part.since);
  if (!part.filter_subject.empty()) config["filter_subject"] = part.filter_subject;
  return config;
}

class StreamReader {
 public:
  StreamReader(JetStreamApi& api, const StreamPart& part)
      : api_(api), stream_(part.stream), inbox_(api.connection().new_inbox()) {
    check(natsConnection_SubscribeSync(&answers_, native(api.connection()), inbox_.c_str()), "subscribe");
    natsSubscription_SetPendingLimits(answers_, -1, -1);
    api.connection().keep(std::shared_ptr<void>(
        answers_, [](void* held) { natsSubscription_Destroy(static_cast<natsSubscription*>(held)); }));
    const auto made = api.request("CONSUMER.CREATE." + part.stream,
                                  {{"stream_name", part.stream}, {"config", config_of(part)}});
    name_ = made.at("name").get<std::string>();
    pending_ = made.value("num_pending", std::uint64_t{0});
  }
  ~StreamReader() {
    natsSubscription_Unsubscribe(answers_);
    try {
      api_.request("CONSUMER.DELETE." + stream_ + "." + name_);
    } catch (const NatsError&) {  // it goes by itself
    }
  }
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  void read(const std::function<void(natsMsg*, const AckSubject&)>& visit) {
    while (pending_ > 0) {
      auto missing = std::min(pending_, at_once);
      // It expires early: letters that are deleted meanwhile do not come.
      api_.send("CONSUMER.MSG.NEXT." + stream_ + "." + name_,
                {{"batch", missing}, {"expires", nanoseconds{seconds{2}}.count()}}, inbox_);
      while (missing > 0 && pending_ > 0) {
        const auto message = next();
        const char* const reply = natsMsg_GetReply(message.get());
        const auto ack = AckSubject::parse(reply != nullptr ? reply : "");
        if (!ack) {
          if (ended(message.get())) pending_ = 0;
          break;
        }
        --missing;
        pending_ = ack->pending;
        visit(message.get(), *ack);
      }
    }
  }

 private:
  MessagePtr next() {
    natsMsg* raw = nullptr;
    check(natsSubscription_NextMsg(&raw, answers_, std::chrono::milliseconds{longest_silence}.count()),
          "read the stream " + stream_);
    return MessagePtr{raw};
  }

  /// What a status says instead of a message: the request's time is over, or nothing is left.
  bool ended(natsMsg* message) const {
    const char* status = nullptr;
    natsMsgHeader_Get(message, "Status", &status);
    const std::string code = status != nullptr ? status : "";
    if (code == "404" || code == "408") return true;
    if (code == "100") return false;  // still there
    const char* description = nullptr;
    natsMsgHeader_Get(message, "Description", &description);
    throw NatsError("cannot read the stream " + stream_ + ": " + code + ' ' +
                    (description != nullptr ? description : ""));
  }

  JetStreamApi& api_;
  const std::string stream_;
  const std::string inbox_;
  std::string name_;
  natsSubscription* answers_ = nullptr;  // kept by the connection
  std::uint64_t pending_ = 0;
};

}  // namespace

void read_stream(JetStreamApi& api, const StreamPart& part,
                 const std::function<void(natsMsg*, const AckSubject&)>& visit) {
  StreamReader{api, part}.read(visit);
}

}  // namespace tidings
