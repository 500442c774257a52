#include "command_line.hpp"
#include "commands.hpp"
#include "printing.hpp"

#include <tidings/database.hpp>
#include <tidings/error.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/timestamp.hpp>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {
namespace {

constexpr std::string_view unknown_status = "unknown";  // one that the model does not have

struct OutboxFlags {
  std::string status;
  int limit = 20;
  std::string id;
  bool json = false;
};

struct Outbox {
  std::unique_ptr<Database> database = Database::open(database_url(), Database::Open::reading);
  std::unique_ptr<OutboxRepository> rows = database->outbox();
};

/// What is known of the processor that holds the lease, or held it last. Its state is a phase, stopped (it
/// handed the lease back), lost (it did not renew the lease) or none.
Json processor_json(const std::optional<ProcessorRecord>& row) {
  if (!row) return {{"state", "none"}};
  const auto ms_since = [](Timestamp time) {
    return std::max(now() - time, std::chrono::milliseconds{0}).count();
  };
  std::string state = row->phase ? to_string(*row->phase) : "unknown";
  std::replace(state.begin(), state.end(), ' ', '_');
  const bool handed_back = row->expires_at == Timestamp{};
  const bool gone = handed_back || row->expires_at < now();
  if (gone) state = handed_back ? "stopped" : "lost";
  return {{"state", state},
          {"stateMs", ms_since(gone ? row->written_at : row->since)},
          {"trouble", or_null(row->waiting_because)},
          {"inFlight", row->in_flight},
          {"seenMs", ms_since(row->written_at)},
          {"holder", or_null(row->holder)},
          {"epoch", row->epoch}};
}

Json stats_json(const OutboxStats& stats, std::optional<std::chrono::milliseconds> oldest) {
  auto blocked = Json::array();
  for (const auto& aggregate : stats.blocked)
    blocked.push_back({{"aggregateType", aggregate.aggregate_type},
                       {"aggregateId", aggregate.aggregate_id},
                       {"eventId", aggregate.event_id},
                       {"retryCount", aggregate.retry_count},
                       {"lastError", or_null(aggregate.last_error)}});
  return {{"pending", stats.pending},
          {"processing", stats.processing},
          {"published", stats.published},
          {"failed", stats.failed},
          {"deadLetter", stats.dead_letter},
          {"unknownStatus", stats.unknown_status},
          {"oldestPendingMs", oldest ? Json(oldest->count()) : Json{}},
          {"blockedAggregates", stats.blocked_aggregates},
          {"blocked", std::move(blocked)},
          {"processor", processor_json(stats.processor)}};
}

std::string processor_text(const Json& processor) {
  auto text = processor.at("state").get<std::string>();
  if (text == "none") return text;
  std::replace(text.begin(), text.end(), '_', ' ');
  text += " for " + age_text(std::chrono::milliseconds{processor.at("stateMs").get<std::int64_t>()});
  const auto& waiting_for = processor.at("trouble");
  return waiting_for.is_null() ? text : text + ": " + printable(waiting_for.get<std::string>());
}

int stats(const OutboxFlags& flags) {
  const auto stats = Outbox{}.rows->stats();
  std::optional<std::chrono::milliseconds> oldest;
  // A writer whose clock runs ahead must not show as a negative age.
  if (stats.oldest_pending) oldest = std::max(now() - *stats.oldest_pending, std::chrono::milliseconds{0});
  if (flags.json) {
    print(stats_json(stats, oldest));
    return exit_code::done;
  }
  TextTable table{{"pending", std::to_string(stats.pending)},
                  {"processing", std::to_string(stats.processing)},
                  {"published", std::to_string(stats.published)},
                  {"failed", std::to_string(stats.failed)},
                  {"dead letter", std::to_string(stats.dead_letter)},
                  {"unknown status", std::to_string(stats.unknown_status)},
                  {"oldest pending", oldest ? age_text(*oldest) : "-"},
                  {"processor", processor_text(processor_json(stats.processor))},
                  {"blocked aggregates", std::to_string(stats.blocked_aggregates)}};
  for (const auto& aggregate : stats.blocked)
    table.push_back({"  " + printable(aggregate.aggregate_type + '/' + aggregate.aggregate_id),
                     "by " + printable(aggregate.event_id) + ", failed " +
                         std::to_string(aggregate.retry_count) +
                         (aggregate.retry_count == 1 ? " time: " : " times: ") +
                         shorten(printable(aggregate.last_error), 60)});
  print_table(table);
  return exit_code::done;
}

Json row_json(const OutboxRow& row) {
  const auto& version = row.event.event_version;
  return {{"id", row.event.id},
          {"status", row.status},
          {"eventType", row.event.event_type},
          {"eventVersion", row.event.defect.empty() ? Json(version) : Json(row.event_version)},
          {"aggregateType", row.event.aggregate_type},
          {"aggregateId", row.event.aggregate_id},
          {"retryCount", row.event.retry_count},
          {"lastError", or_null(row.last_error)},
          {"occurredAt", or_null(row.occurred_at)},
          {"createdAt", or_null(row.created_at)},
          {"updatedAt", or_null(row.updated_at)},
          {"processedAt", or_null(row.processed_at)},
          {"publishedAt", or_null(row.published_at)}};
}

/// PENDING, pending, dead-letter: as people type it.
std::optional<RowStatus> read_status(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) {
    return letter == '-' ? '_' : static_cast<char>(std::toupper(letter));
  });
  return parse_row_status(text);
}

int list(const OutboxFlags& flags) {
  Outbox outbox;
  const auto rows = flags.status == unknown_status
                        ? outbox.rows->list_unknown_status(flags.limit)
                        : outbox.rows->list(read_status(flags.status), flags.limit);
  if (flags.json) {
    for (const auto& row : rows) print(row_json(row));
    return exit_code::done;
  }
  TextTable table{{"CREATED", "STATUS", "ID", "TYPE", "AGGREGATE", "FAILED", "LAST ERROR"}};
  for (const auto& row : rows)
    table.push_back({printable(row.created_at), printable(row.status), printable(row.event.id),
                     printable(row.event.event_type),
                     printable(row.event.aggregate_type + '/' + row.event.aggregate_id),
                     std::to_string(row.event.retry_count), shorten(printable(row.last_error), 60)});
  print_table(table);
  return exit_code::done;
}

void print_row(const OutboxRow& row) {
  const auto json = row_json(row);
  TextTable table;
  for (const auto& [name, value] : json.items())
    table.push_back({name, value.is_null()     ? "-"
                           : value.is_string() ? printable(value.get<std::string>())
                                               : value.dump()});
  print_table(table);
  const auto data = json_or_text(row.event.event_data);
  std::cout << "eventData\n"
            << (data.is_string() ? printable(row.event.event_data) : json_text(data, 2)) << '\n';
}

int show(const OutboxFlags& flags) {
  Outbox outbox;
  const auto row = outbox.rows->find(flags.id);
  if (!row)
    throw Error("no event " + printable(flags.id) + " in " + outbox.database->name() +
                ": 'tidings outbox list' shows ids; published ones are deleted after OUTBOX_RETENTION_DAYS");
  if (!flags.json) {
    print_row(*row);
    return exit_code::done;
  }
  auto json = row_json(*row);
  json["eventData"] = json_or_text(row->event.event_data);
  print(json);
  return exit_code::done;
}

}  // namespace

void add_outbox_commands(CommandLine& line) {
  const auto flags = std::make_shared<OutboxFlags>();
  auto& outbox = line.family("outbox", "Shows the outbox table, and sends its dead letters again.");
  const auto add = [&](const char* name, const char* description,
                       int (*work)(const OutboxFlags&)) -> CLI::App& {
    auto& command = line.command(
        name, description, {SettingGroup::database}, [=] { return work(*flags); }, &outbox);
    command.add_flag("--json", flags->json, "print one JSON object a line");
    return command;
  };

  add_outbox_init_command(line, outbox);

  add("stats",
      "Counts the rows of each status, and says how old the oldest pending one is, what the processor is "
      "doing and which aggregates wait for a failed event.",
      stats);

  auto& list_command = add("list", "Lists events, the newest first.", list);
  list_command.add_option("--limit", flags->limit, "rows at most, 1 to 100000 (20)")
      ->check(CLI::Range(1, 100000));
  const std::string statuses = "pending, processing, published, failed, dead_letter or unknown";
  list_command.add_option("--status", flags->status, statuses)->check([statuses](const std::string& text) {
    return read_status(text) || text == unknown_status ? std::string{} : text + ": takes " + statuses;
  });

  auto& show_command = add("show", "Shows one event with its data.", show);
  show_command.add_option("ID", flags->id, "the event's id")->required();

  add_outbox_retry_commands(line, outbox);
}

}  // namespace tidings
