#include "command_line.hpp"
#include "commands.hpp"
#include "jetstream_api.hpp"
#include "nats/handle.hpp"
#include "printing.hpp"

#include <tidings/settings.hpp>
#include <tidings/timestamp.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds silence_of_servers{150};  // after which no more of them is expected to answer
constexpr int no_message_found = 10037;

struct GroupFlags {
  std::string stream = settings::text_or("OUTBOX_STREAM", "AUTH_EVENTS");
  bool json = false;
};

/// Connections by name, of this account and on all servers: consumers name theirs after their group. Empty
/// when the login may not ask, or the servers do not tell.
std::map<std::string, std::size_t> connections_by_name(Connection& connection) {
  std::map<std::string, std::size_t> counts;
  const auto inbox = connection.new_inbox();
  natsSubscription* answers = nullptr;
  check(natsConnection_SubscribeSync(&answers, native(connection), inbox.c_str()), "subscribe");
  connection.keep(std::shared_ptr<void>(
      answers, [](void* held) { natsSubscription_Destroy(static_cast<natsSubscription*>(held)); }));
  check(natsConnection_PublishRequestString(native(connection), "$SYS.REQ.ACCOUNT.PING.CONNZ", inbox.c_str(),
                                            R"({"limit":100000})"),
        "ask for the connections");
  natsMsg* raw = nullptr;
  while (natsSubscription_NextMsg(&raw, answers, silence_of_servers.count()) == NATS_OK) {
    const MessagePtr message{raw};
    const auto size = static_cast<std::size_t>(natsMsg_GetDataLength(raw));
    const auto answer = Json::parse(std::string_view{natsMsg_GetData(raw), size}, nullptr, false);
    if (!answer.is_object()) break;  // there is nobody to ask
    const auto data = answer.value("data", Json::object());
    for (const auto& one : data.value("connections", Json::array()))
      ++counts[one.value("name", std::string{})];
  }
  natsSubscription_Unsubscribe(answers);
  return counts;
}

/// When the first message behind the ack floor that the group is handed was stored: the oldest unacked one.
std::optional<milliseconds> oldest_unacked(JetStreamApi& api, const std::string& stream, const Json& group) {
  if (group.value("num_ack_pending", 0) == 0) return std::nullopt;
  const auto behind = group.at("ack_floor").value("stream_seq", std::uint64_t{0}) + 1;
  auto filters = filters_of(group.at("config"));
  if (filters.empty()) filters.emplace_back(">");
  std::optional<Timestamp> oldest;
  for (const auto& filter : filters) {
    try {
      const auto found = api.request("STREAM.MSG.GET." + stream, {{"seq", behind}, {"next_by_subj", filter}});
      const auto stored = parse_timestamp(found.at("message").value("time", std::string{}));
      if (stored && (!oldest || *stored < *oldest)) oldest = stored;
    } catch (const JetStreamRefusal& refusal) {
      if (refusal.code() != no_message_found) throw;  // those that are not acked were deleted
    }
  }
  if (!oldest) return std::nullopt;
  return std::max(now() - *oldest, milliseconds{0});
}

Json group_json(JetStreamApi& api, const std::string& stream, const Json& group,
                const std::map<std::string, std::size_t>& connections) {
  const auto& config = group.at("config");
  const auto name = config.at("durable_name").get<std::string>();
  const bool push = config.contains("deliver_subject");
  const auto oldest = oldest_unacked(api, stream, group);
  const auto own = connections.find(name);
  return {{"group", name},
          {"stream", stream},
          {"kind", push ? "push" : "pull"},
          {"filters", filters_of(config)},
          {"lag", group.value("num_pending", std::uint64_t{0})},
          {"unacked", group.value("num_ack_pending", std::uint64_t{0})},
          {"maxUnacked", config.value("max_ack_pending", std::int64_t{0})},
          {"oldestUnackedMs", oldest ? Json(oldest->count()) : Json{}},
          {"redelivered", group.value("num_redelivered", std::uint64_t{0})},
          {"waitingPulls", push ? Json{} : Json(group.value("num_waiting", std::uint64_t{0}))},
          {"instances", own == connections.end() ? Json{} : Json(own->second)},
          {"ackFloor", group.at("ack_floor").value("stream_seq", std::uint64_t{0})}};
}

std::string number_or_dash(const Json& number) { return number.is_null() ? "-" : number.dump(); }

std::vector<std::string> row_of(const Json& group) {
  std::string filters;
  for (const auto& filter : group.at("filters"))
    filters += (filters.empty() ? "" : ", ") + printable(filter.get<std::string>());
  const auto& oldest = group.at("oldestUnackedMs");
  return {printable(group.at("group").get<std::string>()),
          group.at("lag").dump(),
          group.at("unacked").dump(),
          oldest.is_null() ? "-" : age_text(milliseconds{oldest.get<std::int64_t>()}),
          group.at("redelivered").dump(),
          number_or_dash(group.at("waitingPulls")),
          number_or_dash(group.at("instances")),
          filters.empty() ? "all" : filters};
}

std::vector<Json> consumers_of(JetStreamApi& api, const std::string& stream) {
  try {
    return api.consumers(stream);
  } catch (const JetStreamRefusal& refusal) {
    if (refusal.code() != stream_not_found) throw;
    throw NatsError("there is no stream " + stream +
                    ": relays and consumers make it at their first start; --stream names another");
  }
}

int groups(const GroupFlags& flags) {
  require_stream_name(flags.stream);
  JetStreamApi api{"groups"};
  const auto consumers = consumers_of(api, flags.stream);
  const auto connections = connections_by_name(api.connection());
  TextTable table{
      {"GROUP", "LAG", "UNACKED", "OLDEST", "REDELIVERED", "WAITING PULLS", "INSTANCES", "FILTER"}};
  for (const auto& consumer : consumers) {
    if (!consumer.value("config", Json::object()).contains("durable_name")) continue;  // somebody looks on
    const auto json = group_json(api, flags.stream, consumer, connections);
    if (flags.json)
      print(json);
    else
      table.push_back(row_of(json));
  }
  if (!flags.json) print_table(table);
  return exit_code::done;
}

}  // namespace

void add_groups_command(CommandLine& line) {
  const auto flags = std::make_shared<GroupFlags>();
  auto& command =
      line.command("groups", "Shows each consumer group: how far behind it is, and what it has not settled.",
                   {SettingGroup::nats}, [flags] { return groups(*flags); });
  command.add_flag("--json", flags->json, "print one JSON object a line");
  command.add_option("--stream", flags->stream, "the stream of events (OUTBOX_STREAM or AUTH_EVENTS)");
}

}  // namespace tidings
