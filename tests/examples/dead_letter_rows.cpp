#include <tidings/dead_letter_rows.hpp>

int retry_all(tidings::Database& database) {
  tidings::DeadLetterRows dead{database};
  tidings::OutboxPosition after;
  for (int retried = 0;;) {
    const auto page = dead.read(after, 250);
    if (page.empty()) return retried;
    database.transact([&](tidings::Transaction& transaction) { retried += dead.retry(transaction, page); });
    after = page.back().position;
  }
}
