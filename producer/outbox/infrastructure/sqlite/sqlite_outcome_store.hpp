#pragma once

#include "infrastructure/outcome_store.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace tidings {

class SqliteOutcomeStore final : public OutcomeStore {
 public:
  explicit SqliteOutcomeStore(SqliteDatabase& database);
  ~SqliteOutcomeStore() override;

  int write(Transaction& transaction, const std::vector<Outcome>& outcomes, bool delete_published) override;

 private:
  struct Statements;
  struct Written {
    int changed = 0;
    int published = 0;  ///< of these, the ones that are PUBLISHED now
  };
  [[nodiscard]] Written write_run(const Outcome& first, const Outcome& last, bool delete_published);
  [[nodiscard]] bool is_at(const Outcome& outcome);
  [[nodiscard]] std::int64_t newest();
  Written write_one(const Outcome& outcome, bool delete_published);
  Written write_at(std::int64_t position, const Outcome& outcome, bool delete_published);

  SqliteDatabase& database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace tidings
