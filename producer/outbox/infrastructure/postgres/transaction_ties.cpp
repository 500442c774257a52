#include "infrastructure/postgres/transaction_ties.hpp"

#include "event/uuid_bytes.hpp"
#include "infrastructure/outbox_columns.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

namespace tidings {
namespace {

using Rows = std::vector<WrittenEvent>;
using Places = std::vector<std::size_t>;

auto group_of(const WrittenEvent& row) {
  return std::tie(row.transaction, row.event.aggregate_id, row.event.aggregate_type);
}

/// Other ids may grow, and then tell more than the place: new rows also go where old ones were deleted.
bool is_random(std::string_view id) {
  constexpr std::size_t version = 14;
  return is_uuid(id) && id[version] == '4';
}

void order_group(Rows& rows, std::span<const std::size_t> places) {
  Rows group;
  group.reserve(places.size());
  for (const auto at : places) group.push_back(std::move(rows[at]));
  const bool by_place = std::ranges::all_of(group, [](const auto& row) { return is_random(row.event.id); });
  std::ranges::stable_sort(group, {}, [by_place](const auto& row) {
    return std::pair{row.command, by_place ? row.place : 0};
  });
  for (std::size_t i = 0; i < places.size(); ++i) rows[places[i]] = std::move(group[i]);
}

/// The rows from `begin` to `end`, which have the same createdAt.
void order_millisecond(Rows& rows, std::size_t begin, std::size_t end) {
  Places grouped;
  for (auto at = begin; at < end; ++at)
    if (rows[at].event.status == RowStatus::pending) grouped.push_back(at);
  std::ranges::stable_sort(
      grouped, [&rows](auto left, auto right) { return group_of(rows[left]) < group_of(rows[right]); });
  Places last_of(end - begin, begin);  // by the first place of a group: its last
  for (auto first = grouped.begin(); first != grouped.end();) {
    const auto last = std::find_if(first, grouped.end(),
                                   [&](auto at) { return group_of(rows[at]) != group_of(rows[*first]); });
    last_of[*first - begin] = *(last - 1);
    if (last - first > 1) order_group(rows, {first, last});
    first = last;
  }
  auto held_up_to = begin;
  for (auto at = begin; at < end; ++at) {
    held_up_to = std::max(held_up_to, last_of[at - begin]);
    rows[at].holds_next = at < held_up_to;
  }
}

/// ctid as it is written: (block,number).
std::uint64_t read_place(std::string_view text) {
  std::uint64_t block = 0, number = 0;
  const auto* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + std::min<std::size_t>(1, text.size()), end, block);
  if (read.ptr != end) std::from_chars(read.ptr + 1, end, number);
  return (block << 16U) + number;
}

}  // namespace

Rows take_written(SqlRows& rows, std::size_t at) {
  Rows taken(rows.size());
  for (std::size_t number = 0; number < rows.size(); ++number) {
    auto& row = taken[number];
    row.transaction = static_cast<std::uint32_t>(rows.integer(number, at));
    row.command = static_cast<std::uint32_t>(rows.integer(number, at + outbox_columns::command));
    row.place = read_place(*rows.cells.at(number * rows.columns + at + outbox_columns::tuple));
    row.event = outbox_columns::take_event(rows, number, Database::Kind::postgresql, at);
  }
  return taken;
}

void order_ties(Rows& rows) {
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const auto& created_at = rows[begin].event.position.created_at;
    for (end = begin + 1; end < rows.size() && rows[end].event.position.created_at == created_at;) ++end;
    if (end - begin > 1) order_millisecond(rows, begin, end);
  }
}

void cut_to(Rows& rows, std::size_t limit) {
  while (limit > 0 && limit < rows.size() && rows[limit - 1].holds_next) ++limit;
  if (limit < rows.size()) rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(limit), rows.end());
}

}  // namespace tidings
