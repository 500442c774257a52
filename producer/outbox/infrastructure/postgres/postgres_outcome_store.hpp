#pragma once

#include "infrastructure/outcome_store.hpp"
#include "infrastructure/postgres/postgres_database.hpp"

#include <vector>

namespace tidings {

class PostgresOutcomeStore final : public OutcomeStore {
 public:
  explicit PostgresOutcomeStore(PostgresDatabase& database) : database_(database) {}

  int write(Transaction& transaction, const std::vector<Outcome>& outcomes, bool delete_published) override;

 private:
  using Iterator = std::vector<Outcome>::const_iterator;

  [[nodiscard]] int write_published(Iterator begin, Iterator end, bool delete_published);
  void write_one(const Outcome& outcome);

  PostgresDatabase& database_;
};

}  // namespace tidings
