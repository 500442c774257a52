#pragma once

// How a page of a scan is asked of PostgreSQL, and what the answer says.

#include "infrastructure/postgres/snapshot_scans.hpp"

#include <tidings/database.hpp>

#include <string>

namespace tidings {

/// Takes created_from, both parts of after, unseen_from, late_from and limit of a ScanQuery.
[[nodiscard]] const std::string& scan_statement();

struct ScanAnswer {
  ScanPage page;
  std::string server_started;  ///< when the server's process did, in seconds
};

/// Texts are moved out of `rows`. To be called as soon as the answer has come.
[[nodiscard]] ScanAnswer take_scan_answer(SqlRows& rows);

}  // namespace tidings
