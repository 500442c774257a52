#pragma once

// Events of an aggregate that one transaction has written in one millisecond: they go out in the order in
// which it wrote them, which their ids need not tell. See docs/decisions/0007.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidings {

/// An event, and by whom its row was written. The latter says nothing of rows that were written again, nor
/// of those of different transactions.
struct WrittenEvent {
  OutboxEvent event;
  std::uint32_t transaction = 0;  ///< xmin: the lower half of its id
  std::uint32_t command = 0;      ///< cmin: its statements in their order
  std::uint64_t place = 0;        ///< ctid: the rows of one statement, in their order as a rule
  bool holds_next = false;        ///< what is read must not be cut behind it
};

/// From the columns from `at` on, which are those of an event in outbox_columns::select(). Texts are moved
/// out of `rows`.
[[nodiscard]] std::vector<WrittenEvent> take_written(SqlRows& rows, std::size_t at = 0);

/// The rows come in the order of (createdAt, id). Those that belong together change places among each other:
/// by command and, where all of their ids are random UUIDs, by place, or else by id.
void order_ties(std::vector<WrittenEvent>& rows);
/// After that: to so many rows, or more where the last holds others.
void cut_to(std::vector<WrittenEvent>& rows, std::size_t limit);

/// How many rows to read beyond the limit to find all of a millisecond. Where it has more, transactions may
/// be cut in two, and their events then go out in the order of their ids.
inline constexpr int most_beyond_limit = 1000;

}  // namespace tidings
