#pragma once

// What a statement returned.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

extern "C" {
typedef struct pg_result PGresult;
}

namespace tidings {

/// Rows and columns count from 0; values are text.
///
///     const auto rows = tx.query("SELECT address FROM account WHERE id = $1", user.userId);
///     if (!rows.empty()) send_to(rows.text(0, 0));
class PostgresRows {
 public:
  explicit PostgresRows(PGresult* result);
  /// Throws PostgresError when this is an error.
  void require() const;
  /// Five characters; empty when this is not an error.
  [[nodiscard]] std::string sqlstate() const;

  [[nodiscard]] int size() const noexcept;
  [[nodiscard]] int columns() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// The command's name as the server says it: `COMMIT`, `INSERT 0 1`.
  [[nodiscard]] std::string_view command() const noexcept;
  /// Rows that the statement has inserted, updated or deleted.
  [[nodiscard]] std::int64_t affected() const;
  [[nodiscard]] bool is_null(int row, int column) const noexcept;
  [[nodiscard]] std::string_view text(int row, int column) const noexcept;  ///< empty for NULL
  [[nodiscard]] bool is_binary(int column) const noexcept;                  ///< of the type bytea
  [[nodiscard]] std::string bytes(int row, int column) const;  ///< of a bytea, in whichever form it came
  /// Throws DatabaseError for NULL, and for what is not a whole number of 64 bits.
  [[nodiscard]] std::int64_t integer(int row, int column) const;

 private:
  std::shared_ptr<PGresult> result_;
};

}  // namespace tidings
