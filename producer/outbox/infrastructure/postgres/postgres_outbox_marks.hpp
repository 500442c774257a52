#pragma once

#include "infrastructure/outbox_marks.hpp"
#include "infrastructure/postgres/postgres_outbox_database.hpp"

#include <vector>

namespace tidings {

class PostgresOutboxMarks final : public OutboxMarks {
 public:
  explicit PostgresOutboxMarks(PostgresOutboxDatabase& database) : database_(database) {}

  int write(Transaction& transaction, const std::vector<OutboxMark>& marks, bool delete_published) override;

 private:
  using Marks = std::vector<OutboxMark>::const_iterator;

  [[nodiscard]] int write_published(Marks begin, Marks end, bool delete_published);
  void write_one(const OutboxMark& mark);

  PostgresOutboxDatabase& database_;
};

}  // namespace tidings
