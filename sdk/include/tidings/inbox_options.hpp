#pragma once

// What SqliteInbox and PostgresInbox are made with, beside the place.

#include <string>

namespace tidings {

struct InboxOptions {
  /// Of the inbox's tables: inboxes with different prefixes in one database know nothing of each other.
  /// Begins with a letter or _, goes on with these and digits, at most 40 in all.
  std::string table_prefix{};
};

}  // namespace tidings
