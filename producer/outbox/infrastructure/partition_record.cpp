#include "infrastructure/partition_record.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace tidings {
namespace {

constexpr std::string_view row_name = "partitions=";

std::optional<int> noted_partitions(Database& database) {
  const auto rows = database.exec("SELECT name, published FROM outbox_state");
  std::optional<int> before;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto name = rows.text(row, 0);
    if (name.starts_with(row_name)) return std::stoi(name.substr(row_name.size()));
    if (name == "outbox" && rows.integer(row, 1) > 0) before = 1;
  }
  return before;
}

}  // namespace

std::optional<int> note_partitions(Transaction& transaction, int partitions) {
  auto& database = transaction.database();
  return attempt("note the number of partitions", [&] {
    const auto before = noted_partitions(database);
    if (before.value_or(1) == partitions) return before;
    database.exec("DELETE FROM outbox_state WHERE name LIKE 'partitions=%'");
    database.exec(R"sql(
        INSERT INTO outbox_state (name, phase, since, trouble, "inFlight", "writtenAt", published)
        VALUES ($1, '', 0, '', 0, $2, 0))sql",
                  std::string{row_name} + std::to_string(partitions),
                  database.time().time_since_epoch().count());
    return before;
  });
}

}  // namespace tidings
