#include <tidings/outbox_adapters.hpp>
#include <tidings/outbox_insert.hpp>
#include <tidings/postgres_error.hpp>
#include <tidings/postgres_rows.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <array>

namespace tidings {

void add_to_outbox(PGconn* connection, const DomainEvent& event) {
  const auto parameters = outbox_insert::parameters(event);
  const std::string refused = "cannot write an event to the outbox: ";
  if (PQtransactionStatus(connection) == PQTRANS_IDLE)
    throw DatabaseError(refused + "no transaction is open; begin one, for the event and what it tells of");
  std::array<const char*, std::tuple_size_v<outbox_insert::Parameters>> values{};
  std::transform(parameters.begin(), parameters.end(), values.begin(),
                 [](const std::string& text) { return text.c_str(); });
  PGresult* const result =
      PQexecParams(connection, outbox_insert::postgresql_and_wake.c_str(), static_cast<int>(values.size()),
                   nullptr, values.data(), nullptr, nullptr, 0);
  if (result == nullptr) throw PostgresError(refused + PQerrorMessage(connection), "");
  const PostgresRows rows{result};
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    throw PostgresError(refused + PQerrorMessage(connection), rows.sqlstate());
}

}  // namespace tidings
