#pragma once

// One run of a prepared statement. Until it is reset its read transaction is open, which keeps the WAL from
// being checkpointed: it would grow without end. So the end of the scope resets, however it is left.

#include <SQLiteCpp/Column.h>
#include <SQLiteCpp/Statement.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace tidings {

/// The value of a column that holds texts and blobs; in SQLite's order, every text is below every blob.
struct TextOrBlob {
  std::string bytes{};
  bool is_text = true;
};

class StatementRun {
 public:
  explicit StatementRun(SQLite::Statement& statement) noexcept : statement_(statement) {}
  ~StatementRun() { statement_.tryReset(); }
  StatementRun(const StatementRun&) = delete;
  StatementRun& operator=(const StatementRun&) = delete;

  /// All parameters in their order, each time: what an earlier run bound may be gone. Texts are not
  /// copied, so they must outlive this object; temporaries are refused.
  template <class... Values>
  StatementRun& bind(Values&&... values) {
    int index = 0;
    (bind_at(++index, std::forward<Values>(values)), ...);
    return *this;
  }

  /// True when there is a row.
  bool next() { return statement_.executeStep(); }
  [[nodiscard]] SQLite::Column column(int index) const { return statement_.getColumn(index); }

  /// To the end, for a statement without rows. Returns how many rows it changed.
  int exec() { return statement_.exec(); }

 private:
  void bind_at(int index, std::int32_t value) { statement_.bind(index, value); }
  void bind_at(int index, std::int64_t value) { statement_.bind(index, value); }
  template <class Value>
  void bind_at(int index, const std::optional<Value>& value) {
    value ? bind_at(index, *value) : statement_.bind(index);
  }
  template <class Value>
  void bind_at(int index, std::optional<Value>&& value) = delete;
  void bind_at(int index, const std::string& text) { statement_.bindNoCopy(index, text); }
  void bind_at(int index, std::string&& text) = delete;
  void bind_at(int index, const TextOrBlob& value) {
    if (value.is_text)
      statement_.bindNoCopy(index, value.bytes);
    else
      statement_.bindNoCopy(index, value.bytes.data(), static_cast<int>(value.bytes.size()));
  }
  void bind_at(int index, TextOrBlob&& value) = delete;

  SQLite::Statement& statement_;
};

/// A column as text; empty when it is NULL.
[[nodiscard]] inline std::string read_text(const SQLite::Column& column) {
  return column.isNull() ? std::string{} : column.getString();
}

}  // namespace tidings
