#include <tidings/consumer.hpp>
// An inbox of either kind; it decides what handlers get.
#include <tidings/sqlite_inbox.hpp>

struct UserCreated {
  std::string userId, email;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(UserCreated, userId, email)

void consume() {
  tidings::SqliteInbox inbox{"welcome.db"};
  tidings::Consumer consumer{inbox, {.group = "welcome-mailer"}};  // reads no environment
  consumer.on<UserCreated>("user.created",
                           [](const UserCreated& user, SQLite::Database& tx, const tidings::Delivery&) {
                             if (user.email.empty()) throw tidings::Reject{"no address"};
                             tx.exec("UPDATE welcomed SET users = users + 1");
                           });
  consumer.run();  // until SIGINT or SIGTERM; drains
}

// Several in one process: SIGINT or SIGTERM ends them, or the error of one of them.
void consume_both(tidings::Consumer<tidings::SqliteInbox>& mailer,
                  tidings::Consumer<tidings::SqliteInbox>& audit) {
  audit.on_any([](const tidings::Delivery& delivery) { (void)delivery.event.data; });  // bytes
  audit.pause();                                                                       // until resume()
  tidings::run_all(mailer, audit);
}

// On one connection, which may have an OutboxProcessor on it, too. It must outlive the runs.
void consume_on(tidings::Connection& connection, tidings::SqliteInbox& inbox, tidings::SqliteInbox& other) {
  tidings::Consumer mailer{inbox, connection, {.group = "welcome-mailer"}};
  tidings::Consumer audit{other, connection, {.group = "audit"}};
  consume_both(mailer, audit);
}
