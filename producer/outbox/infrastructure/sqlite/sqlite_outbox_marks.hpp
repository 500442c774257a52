#pragma once

#include "infrastructure/outbox_marks.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace tidings {

class SqliteOutboxMarks final : public OutboxMarks {
 public:
  explicit SqliteOutboxMarks(SqliteDatabase& database);
  ~SqliteOutboxMarks() override;

  int write(Transaction& transaction, const std::vector<OutboxMark>& marks, bool delete_published) override;

 private:
  struct Statements;
  struct Written {
    int changed = 0;
    int published = 0;  ///< of these, the ones that are PUBLISHED now
  };
  [[nodiscard]] Written write_run(const OutboxMark& first, const OutboxMark& last, bool delete_published);
  [[nodiscard]] bool is_at(const OutboxMark& mark);
  [[nodiscard]] std::int64_t newest();
  Written write_one(const OutboxMark& mark, bool delete_published);
  Written write_at(std::int64_t position, const OutboxMark& mark, bool delete_published);

  SqliteDatabase& database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace tidings
