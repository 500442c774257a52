// A service on libpqxx, with a transaction of its own: an invoice and its event are one commit.
//
//   invoice-service postgresql://… INVOICE=CENTS…

#include <tidings/outbox_pqxx.hpp>

#include <pqxx/pqxx>

#include <iostream>
#include <string>

struct Invoice {
  std::string id;
  int cents;
};

struct InvoiceSent : tidings::DomainEvent {
  explicit InvoiceSent(const Invoice& invoice) {
    aggregate_id = invoice.id;
    aggregate_type = "Invoice";
    event_type = "invoice.sent";
    data = {{"invoiceId", invoice.id}, {"cents", invoice.cents}};
  }
};

/// Refuses an invoice late, when all is written, to show that nothing of it stays.
void send(pqxx::connection& connection, const Invoice& invoice) {
  pqxx::work transaction{connection};
  transaction.exec("INSERT INTO invoice(id, cents) VALUES (" + transaction.quote(invoice.id) + ", " +
                   std::to_string(invoice.cents) + ")");
  tidings::add_to_outbox(transaction, InvoiceSent{invoice});
  if (invoice.cents <= 0) throw tidings::Error("invoice " + invoice.id + " is for nothing");
  transaction.commit();
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  try {
    pqxx::connection connection{argv[1]};
    {
      pqxx::work transaction{connection};
      transaction.exec("CREATE TABLE IF NOT EXISTS invoice(id text PRIMARY KEY, cents integer NOT NULL)");
      transaction.commit();
    }
    for (int i = 2; i < argc; ++i) {
      const std::string invoice = argv[i];
      const auto equals = invoice.find('=');
      try {
        send(connection, {invoice.substr(0, equals), std::stoi(invoice.substr(equals + 1))});
      } catch (const tidings::Error& error) {
        std::cerr << error.what() << '\n';
      }
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
