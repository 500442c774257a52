// How a PostgresConnection sends statements: the queued ones and the one that is run share a round trip, and
// are prepared where the session is its own.

#include <tidings/postgres_connection.hpp>

#include <libpq-fe.h>

#include <cstddef>

namespace tidings {

void PostgresConnection::enqueue(Command command) {
  refuse_end(command.statement);
  queued_.push_back(std::move(command));
}

void PostgresConnection::flush() {
  if (queued_.empty()) return;
  const auto last = std::move(queued_.back());
  queued_.pop_back();
  (void)run(last);
}

PostgresRows PostgresConnection::run(const Command& last) {
  refuse_end(last.statement);
  // Never on a new connection by itself: a transaction that was lost would go on as single statements.
  if (!connected() || PQenterPipelineMode(connection_) != 1) lost();
  if (!in_transaction()) ++transactions_;
  std::vector<Answer> answers;
  for (const auto& command : std::exchange(queued_, {})) send(command, answers);
  const auto queued = answers.size();
  send(last, answers);
  if (PQpipelineSync(connection_) != 1) lost();
  return receive(answers, queued);
}

/// A statement is prepared at its first use, in the same round trip.
void PostgresConnection::send(const Command& command, std::vector<Answer>& answers) {
  // For each session: statements whose text is always new must not fill the server's memory, or ours.
  constexpr std::size_t most_prepared = 200;
  std::vector<const char*> values;
  values.reserve(command.parameters.size());
  for (const auto& value : command.parameters) values.push_back(value ? value->c_str() : nullptr);
  const auto& text = command.statement;
  const int count = static_cast<int>(values.size());
  auto known = prepared_.find(text);
  const bool fresh = known == prepared_.end();
  if (pooled_ || !command.prepare || (fresh && prepared_.size() >= most_prepared)) {
    if (PQsendQueryParams(connection_, text.c_str(), count, nullptr, values.data(), nullptr, nullptr, 0) != 1)
      lost();
    return answers.push_back({Answer::To::statement});
  }
  if (fresh) {
    Prepared prepared{"tidings_" + std::to_string(next_name_++), transactions_};
    known = prepared_.emplace(text, std::move(prepared)).first;
    if (PQsendPrepare(connection_, known->second.name.c_str(), text.c_str(), 0, nullptr) != 1) lost();
    answers.push_back({Answer::To::prepare, text});
  }
  const auto& [name, transaction] = known->second;
  if (PQsendQueryPrepared(connection_, name.c_str(), count, values.data(), nullptr, nullptr, 0) != 1) lost();
  answers.push_back(transaction == transactions_ ? Answer{Answer::To::statement}
                                                 : Answer{Answer::To::kept_plan, text});
}

/// Reads results up to the sync that ends them; the first `queued` belong to queued statements. Returns the
/// last, or throws the first error.
PostgresRows PostgresConnection::receive(const std::vector<Answer>& answers, std::size_t queued) {
  std::optional<PostgresRows> last;
  std::optional<PostgresError> error;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto& answer = answers[i];
    PGresult* const result = PQgetResult(connection_);
    if (result == nullptr) lost();
    last.emplace(result);
    const auto status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR && !error) {
      const auto state = last->sqlstate();
      auto of = i < queued ? PostgresError::Of::queued_statement : PostgresError::Of::statement;
      // A table or a type has changed, or the session has no prepared statement of that name.
      if (answer.to == Answer::To::kept_plan && (state == "0A000" || state == "26000")) {
        of = PostgresError::Of::kept_plan;
        plan_invalid_ = true;
        prepared_.erase(answer.statement);
      }
      error.emplace(PQresultErrorMessage(result), state, of);
      if (i < queued) queued_failed_ = true;  // and stays so, whatever follows in this transaction
    }
    if (status != PGRES_COMMAND_OK && answer.to == Answer::To::prepare) prepared_.erase(answer.statement);
    if (!connected()) lost();
    PQclear(PQgetResult(connection_));  // the null that ends each
  }
  PQclear(PQgetResult(connection_));  // the answer to the sync
  if (!connected() || PQexitPipelineMode(connection_) != 1) lost();
  if (error) throw *error;
  return *last;
}

}  // namespace tidings
