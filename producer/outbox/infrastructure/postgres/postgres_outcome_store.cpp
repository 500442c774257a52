#include "infrastructure/outcome_store.hpp"
#include "infrastructure/postgres/postgres_database.hpp"

namespace tidings {
namespace {

class PostgresOutcomeStore final : public OutcomeStore {
 public:
  explicit PostgresOutcomeStore(PostgresDatabase& database) : OutcomeStore(database) {}

 private:
  int write_published(Iterator begin, Iterator end, bool delete_published) override;
};

int PostgresOutcomeStore::write_published(Iterator begin, Iterator end, bool delete_published) {
  std::string ids = "{";  // an array of texts in PostgreSQL's notation
  for (auto outcome = begin; outcome != end; ++outcome) {
    ids += outcome == begin ? "\"" : ",\"";
    for (const char letter : outcome->id) {
      if (letter == '"' || letter == '\\') ids += '\\';
      ids += letter;
    }
    ids += '"';
  }
  ids += "}";
  const std::string rows = " WHERE id = ANY($1::text[])" + not_settled;
  if (delete_published) {
    database_.exec("DELETE FROM outbox_event" + rows, ids);
    return 0;
  }
  const auto updated = database_.exec(R"sql(
      UPDATE outbox_event
      SET status = 'PUBLISHED', "publishedAt" = $2, "processedAt" = $2, "updatedAt" = $2, "lastError" = NULL)sql" +
                                          rows,
                                      ids, to_iso8601((end - 1)->at));
  return static_cast<int>(updated.affected);
}

}  // namespace

std::unique_ptr<OutcomeStore> PostgresDatabase::outcomes() {
  return std::make_unique<PostgresOutcomeStore>(*this);
}

}  // namespace tidings
