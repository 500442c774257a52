#include "inbox/postgres_claims.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace tidings {
namespace {

using Rows = std::unordered_map<std::string, std::optional<std::string>>;  // sources by key

/// Where the row of an event is to be.
struct Place {
  std::string key;
  const EventKey* event = nullptr;
};

std::string bytea_of_hex(std::string_view hex) { return "\\x" + std::string{hex}; }

/// What is there under the keys of those events that are no UUIDs.
Rows read_rows(PostgresTables& database, const std::string& group, const std::vector<EventKey>& events) {
  std::vector<std::optional<std::string>> keys;
  for (const auto& key : events)
    if (!key.is_uuid()) keys.insert(keys.end(), {bytea_id(key), bytea_or_null(key.source_and_id)});
  if (keys.empty()) return {};
  // Key by key (OFFSET 0 keeps it so): of event_id = ANY (…), a planner that expects few rows makes a filter
  // for all rows of the group.
  const auto found = database.plan_and_exec(R"sql(
      SELECT encode(ids.key, 'hex'), encode(source, 'hex')
        FROM unnest($2::bytea[]) AS ids(key),
             LATERAL (SELECT source FROM inbox WHERE group_id = $1 AND event_id = ids.key OFFSET 0) AS row)sql",
                                            group, bytea_array(keys));
  Rows rows;
  for (int row = 0; row < found.size(); ++row) {
    auto& source = rows[bytea_of_hex(found.text(row, 0))];
    if (!found.is_null(row, 1)) source = bytea_of_hex(found.text(row, 1));
  }
  return rows;
}

/// Where the event's row is to be; empty when it is there.
std::optional<std::string> free_place(const EventKey& key, const Rows& rows) {
  auto id = bytea_id(key);
  if (key.is_uuid()) return id;
  auto source_and_id = bytea(*key.source_and_id);
  if (rows.contains(source_and_id)) return std::nullopt;
  const auto same_id = rows.find(id);
  if (same_id == rows.end()) return id;
  const auto& source = same_id->second;
  return !source || source == bytea_or_null(key.source) ? std::nullopt
                                                        : std::optional{std::move(source_and_id)};
}

/// Where two events want the same place, one of them gets it.
void insert(PostgresTables& database, const std::string& group, std::vector<Place> places,
            std::unordered_map<std::string, ClaimRow>& written) {
  if (places.empty()) return;
  // Sorted, so that no two statements wait for each other's rows in a circle.
  std::ranges::sort(places, {}, &Place::key);
  const auto same = [](const Place& one, const Place& other) { return one.key == other.key; };
  places.erase(std::unique(places.begin(), places.end(), same), places.end());
  std::vector<std::optional<std::string>> keys, sources;
  for (const auto& [key, event] : places) {
    keys.emplace_back(key);
    sources.push_back(bytea_or_null(event->source));
  }
  const auto rows = database.exec(
      "INSERT INTO inbox(group_id, event_id, source) SELECT $1, ids.key, ids.source "
      "FROM unnest($2::bytea[], $3::bytea[]) AS ids(key, source) "
      "ON CONFLICT DO NOTHING RETURNING encode(event_id, 'hex'), ctid",
      group, bytea_array(keys), bytea_array(sources));
  for (int row = 0; row < rows.size(); ++row) {
    auto key = bytea_of_hex(rows.text(row, 0));
    const auto& event = *std::ranges::lower_bound(places, key, {}, &Place::key)->event;
    written[event.unique()] = {std::move(key), std::string{rows.text(row, 1)}};
  }
}

}  // namespace

std::unordered_map<std::string, ClaimRow> write_claims(PostgresTables& database, const std::string& group,
                                                       const std::vector<EventIdentity>& events) {
  std::vector<EventKey> open(events.begin(), events.end());
  std::unordered_map<std::string, ClaimRow> written;
  while (!open.empty()) {
    const auto rows = read_rows(database, group, open);
    std::vector<Place> places;
    for (const auto& key : open)
      if (auto place = free_place(key, rows)) places.push_back({*std::move(place), &key});
    insert(database, group, std::move(places), written);
    // What is not written was handled before. Unless another source has taken the id meanwhile, here or
    // elsewhere: then it is looked at again.
    std::erase_if(open, [&](const EventKey& key) {
      return key.is_uuid() || written.contains(key.unique()) || !free_place(key, rows);
    });
  }
  return written;
}

bool is_handled(PostgresTables& database, const std::string& group, const EventIdentity& event) {
  const EventKey key{event};
  const auto rows = database.plan_and_exec(R"sql(
      SELECT 1 FROM inbox WHERE group_id = $1 AND event_id = $2::bytea AND (source IS NULL OR source = $4::bytea)
       UNION ALL
      SELECT 1 FROM inbox WHERE group_id = $1 AND event_id = $3::bytea)sql",
                                           group, bytea_id(key), bytea_or_null(key.source_and_id),
                                           bytea_or_null(key.source));
  return !rows.empty();
}

}  // namespace tidings
