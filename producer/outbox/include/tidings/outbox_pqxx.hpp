#pragma once

// Adds an event in a transaction of libpqxx's, version 6 or 7. All of it is in this header: the library
// itself needs no libpqxx.

#include <tidings/outbox_insert.hpp>

#include <pqxx/pqxx>

#include <tuple>

namespace tidings {

/// As in <tidings/outbox_adapters.hpp>. Give it a pqxx::work or another that commits and rolls back: over a
/// pqxx::nontransaction the event would be a commit of its own.
///
///     pqxx::work transaction{connection};
///     orders.insert(transaction, order);
///     tidings::add_to_outbox(transaction, OrderPlaced{order});
///     transaction.commit();
///
/// Throws Error for an event that cannot be written, and what libpqxx throws.
inline void add_to_outbox(pqxx::transaction_base& transaction, const DomainEvent& event) {
  std::apply(
      [&transaction](const auto&... texts) {
#if PQXX_VERSION_MAJOR > 7 || (PQXX_VERSION_MAJOR == 7 && PQXX_VERSION_MINOR >= 10)
        (void)transaction.exec(outbox_insert::postgresql_and_wake, pqxx::params{texts...});
#else
        (void)transaction.exec_params(outbox_insert::postgresql_and_wake, texts...);
#endif
      },
      outbox_insert::parameters(event));
}

}  // namespace tidings
