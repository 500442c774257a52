#include "outbox_command.hpp"

#include "command_line.hpp"
#include "text_table.hpp"

#include <tidings/database.hpp>
#include <tidings/error.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/outbox_stats.hpp>
#include <tidings/timestamp.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

namespace tidings {
namespace {

using Json = nlohmann::ordered_json;

struct OutboxFlags {
  std::string status;
  int limit = 20;
  std::string id;
  bool json = false;
};

struct Outbox {
  std::unique_ptr<Database> database = Database::open(database_url());
  std::unique_ptr<OutboxRepository> rows = database->outbox();
};

// One object a line, whatever bytes another writer has put into the table.
void print(const Json& json) {
  std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

/// Writers differ in how they store times; readers of this command should not have to care.
std::string time_text(const std::string& stored) {
  const auto time = parse_timestamp(stored);
  return time ? to_iso8601(*time) : stored;
}

Json time_json(const std::string& stored) { return stored.empty() ? Json{} : Json(time_text(stored)); }

std::string age_text(std::chrono::milliseconds age) {
  std::ostringstream out;
  const auto seconds = static_cast<double>(age.count()) / 1000;
  out << std::fixed << std::setprecision(1);
  if (seconds < 120)
    out << seconds << " s";
  else if (seconds < 2 * 3600)
    out << seconds / 60 << " min";
  else if (seconds < 48 * 3600)
    out << seconds / 3600 << " h";
  else
    out << seconds / 86400 << " d";
  return out.str();
}

/// What is known of the processor that holds the lease, or held it last.
struct ProcessorView {
  std::string state = "none";  ///< a phase, stopped (handed the lease back), lost (did not renew it) or none
  std::chrono::milliseconds in_state{0};
  std::chrono::milliseconds seen_ago{0};
};

ProcessorView view(const std::optional<ProcessorRecord>& row) {
  ProcessorView view;
  if (!row) return view;
  const auto ago = [](Timestamp time) { return std::max(now() - time, std::chrono::milliseconds{0}); };
  view.state = row->phase ? to_string(*row->phase) : "unknown";
  std::replace(view.state.begin(), view.state.end(), ' ', '_');
  view.in_state = ago(row->since);
  view.seen_ago = ago(row->written_at);
  const bool handed_back = row->expires_at == Timestamp{};
  if (handed_back || row->expires_at < now()) {
    view.state = handed_back ? "stopped" : "lost";
    view.in_state = view.seen_ago;
  }
  return view;
}

Json stats_json(const OutboxStats& stats, std::optional<std::chrono::milliseconds> oldest) {
  auto blocked = Json::array();
  for (const auto& aggregate : stats.blocked)
    blocked.push_back({{"aggregateType", aggregate.aggregate_type},
                       {"aggregateId", aggregate.aggregate_id},
                       {"eventId", aggregate.event_id},
                       {"retryCount", aggregate.retry_count},
                       {"lastError", aggregate.last_error.empty() ? Json{} : Json(aggregate.last_error)}});
  const auto processor = view(stats.processor);
  Json processor_json{{"state", processor.state}};
  if (stats.processor) {
    const auto& row = *stats.processor;
    processor_json.update({{"stateMs", processor.in_state.count()},
                           {"trouble", row.waiting_because.empty() ? Json{} : Json(row.waiting_because)},
                           {"inFlight", row.in_flight},
                           {"seenMs", processor.seen_ago.count()},
                           {"holder", row.holder},
                           {"epoch", row.epoch}});
  }
  return {{"pending", stats.pending},
          {"processing", stats.processing},
          {"published", stats.published},
          {"failed", stats.failed},
          {"deadLetter", stats.dead_letter},
          {"oldestPendingMs", oldest ? Json(oldest->count()) : Json{}},
          {"blockedAggregates", stats.blocked_aggregates},
          {"blocked", std::move(blocked)},
          {"processor", std::move(processor_json)}};
}

std::string processor_text(const std::optional<ProcessorRecord>& row) {
  const auto processor = view(row);
  if (!row) return processor.state;
  auto text = processor.state;
  std::replace(text.begin(), text.end(), '_', ' ');
  text += " for " + age_text(processor.in_state);
  if (!row->waiting_because.empty()) text += ": " + printable(row->waiting_because);
  return text;
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
  TextTable table{{TextTable::Align::left, TextTable::Align::left}};
  table.row({"pending", std::to_string(stats.pending)});
  table.row({"processing", std::to_string(stats.processing)});
  table.row({"published", std::to_string(stats.published)});
  table.row({"failed", std::to_string(stats.failed)});
  table.row({"dead letter", std::to_string(stats.dead_letter)});
  table.row({"oldest pending", oldest ? age_text(*oldest) : "-"});
  table.row({"processor", processor_text(stats.processor)});
  table.row({"blocked aggregates", std::to_string(stats.blocked_aggregates)});
  for (const auto& aggregate : stats.blocked)
    table.row({"  " + printable(aggregate.aggregate_type + '/' + aggregate.aggregate_id),
               "by " + printable(aggregate.event_id) + ", failed " + std::to_string(aggregate.retry_count) +
                   (aggregate.retry_count == 1 ? " time: " : " times: ") +
                   shorten(printable(aggregate.last_error), 60)});
  table.print(std::cout);
  return exit_code::done;
}

Json row_json(const OutboxRow& row) {
  return {{"id", row.event.id},
          {"status", to_string(row.event.status)},
          {"eventType", row.event.event_type},
          {"eventVersion", row.event.event_version},
          {"aggregateType", row.event.aggregate_type},
          {"aggregateId", row.event.aggregate_id},
          {"retryCount", row.event.retry_count},
          {"lastError", row.last_error.empty() ? Json{} : Json(row.last_error)},
          {"occurredAt", to_iso8601(row.event.occurred_at)},
          {"createdAt", time_json(row.created_at)},
          {"updatedAt", to_iso8601(row.event.updated_at)},
          {"processedAt", time_json(row.processed_at)},
          {"publishedAt", time_json(row.published_at)}};
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
  const auto rows = outbox.rows->list(read_status(flags.status), flags.limit);
  if (flags.json) {
    for (const auto& row : rows) print(row_json(row));
    return exit_code::done;
  }
  using enum TextTable::Align;
  TextTable table{{left, left, left, left, left, right, left}};
  table.row({"CREATED", "STATUS", "ID", "TYPE", "AGGREGATE", "FAILED", "LAST ERROR"});
  for (const auto& row : rows)
    table.row({printable(time_text(row.created_at)), to_string(row.event.status), printable(row.event.id),
               printable(row.event.event_type),
               printable(row.event.aggregate_type + '/' + row.event.aggregate_id),
               std::to_string(row.event.retry_count), shorten(printable(row.last_error), 60)});
  table.print(std::cout);
  return exit_code::done;
}

/// eventData as an object, or as the text that it is when it cannot be read.
Json event_data_json(const OutboxEvent& event) {
  auto json = Json::parse(event.event_data, nullptr, false);
  return json.is_discarded() ? Json(event.event_data) : json;
}

void print_row(const OutboxRow& row) {
  const auto or_dash = [](const std::string& text) {
    return text.empty() ? std::string("-") : printable(text);
  };
  TextTable table{{TextTable::Align::left, TextTable::Align::left}};
  table.row({"id", printable(row.event.id)});
  table.row({"status", to_string(row.event.status)});
  table.row(
      {"type", printable(row.event.event_type) + " version " + std::to_string(row.event.event_version)});
  table.row({"aggregate", printable(row.event.aggregate_type + '/' + row.event.aggregate_id)});
  table.row({"occurred", to_iso8601(row.event.occurred_at)});
  table.row({"created", or_dash(time_text(row.created_at))});
  table.row({"processed", or_dash(time_text(row.processed_at))});
  table.row({"published", or_dash(time_text(row.published_at))});
  table.row({"failed", std::to_string(row.event.retry_count) + " times"});
  table.row({"last error", or_dash(row.last_error)});
  table.print(std::cout);
  const auto data = event_data_json(row.event);
  // JSON escapes controls below 0x20 by itself; the line breaks are its own.
  std::cout << "data\n"
            << (data.is_string() ? printable(row.event.event_data)
                                 : data.dump(2, ' ', false, nlohmann::json::error_handler_t::replace))
            << '\n';
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
  json["eventData"] = event_data_json(row->event);
  print(json);
  return exit_code::done;
}

}  // namespace

void add_outbox_commands(CommandLine& line) {
  const auto flags = std::make_shared<OutboxFlags>();
  auto& outbox = line.family("outbox", "Shows the outbox table.");
  const auto add = [&](const char* name, const char* description,
                       int (*work)(const OutboxFlags&)) -> CLI::App& {
    auto& command = line.command(
        name, description, {SettingGroup::database}, [=] { return work(*flags); }, &outbox);
    command.add_flag("--json", flags->json, "print one JSON object a line");
    return command;
  };

  add("stats",
      "Counts the rows of each status, and says how old the oldest pending one is, what the processor is "
      "doing and which aggregates wait for a failed event.",
      stats);

  auto& list_command = add("list", "Lists events, the newest first.", list);
  list_command.add_option("--limit", flags->limit, "rows at most, 1 to 100000 (20)")
      ->check(CLI::Range(1, 100000));
  list_command.add_option("--status", flags->status, "pending, processing, published, failed or dead_letter")
      ->check([](const std::string& text) {
        return read_status(text) ? std::string{}
                                 : text + ": takes pending, processing, published, failed or dead_letter";
      });

  auto& show_command = add("show", "Shows one event with its data.", show);
  show_command.add_option("ID", flags->id, "the event's id")->required();
}

}  // namespace tidings
