#include "support/sqlite.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <stdexcept>

namespace tidings::test::sqlite {
namespace {

constexpr int busy_timeout_ms = 10000;

template <class Read>
void each_row(const std::filesystem::path& database, const std::string& query, Read read) {
  const SQLite::Database file{database.string(), SQLite::OPEN_READONLY, busy_timeout_ms};
  SQLite::Statement statement{file, query};
  while (statement.executeStep()) read(statement.getColumn(0));
}

}  // namespace

std::int64_t number(const std::filesystem::path& database, const std::string& query) {
  return std::stoll(text(database, query));
}

std::string text(const std::filesystem::path& database, const std::string& query) {
  const auto values = column(database, query);
  if (values.empty()) throw std::runtime_error("no row: " + query);
  return values.front();
}

std::vector<std::string> column(const std::filesystem::path& database, const std::string& query) {
  std::vector<std::string> values;
  each_row(database, query, [&values](const SQLite::Column& value) { values.push_back(value.getString()); });
  return values;
}

void execute(const std::filesystem::path& database, const std::string& statements) {
  SQLite::Database file{database.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, busy_timeout_ms};
  file.exec(statements);
}

}  // namespace tidings::test::sqlite
