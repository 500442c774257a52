#pragma once

// A processor that has not reached NATS yet tells so in a row of outbox_state of its own: with the lease,
// whose holder has the other row, it would keep away another that may reach NATS.

#include <tidings/database.hpp>
#include <tidings/processor_status.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace tidings {

/// Without a word for this long, it is gone.
inline constexpr std::chrono::seconds waiting_record_counts_for{15};

// All throw DatabaseError.

void write_waiting_record(Database& database, Timestamp since, const std::string& why);
void remove_waiting_record(Database& database);

/// Empty when no processor waits.
[[nodiscard]] std::optional<ProcessorRecord> read_waiting_record(Database& database);

}  // namespace tidings
