#include "mailer.hpp"

#include "nats/handle.hpp"

#include <chrono>
#include <thread>
#include <utility>

namespace tidings::bench {

ConsumerOptions options_for(const std::string& url) {
  ConsumerOptions options;
  options.group = group;
  options.connection = {};
  options.connection.urls = {url};
  return options;
}

void forget_group(const std::string& url) {
  Connection connection{ConnectionOptions{.urls = {url}}};
  js_DeleteConsumer(jetstream(connection), "AUTH_EVENTS", group, nullptr, nullptr);
  // 2.9.10 answers before it is done, and would delete what is made of the same name meanwhile.
  std::this_thread::sleep_for(std::chrono::milliseconds{500});
}

WelcomeEmails::WelcomeEmails(SQLite::Database& database) {
  database.exec("CREATE TABLE IF NOT EXISTS welcome_email(user_id TEXT, address TEXT)");
  insert_.emplace(database, "INSERT INTO welcome_email VALUES (?, ?)");
}

void WelcomeEmails::write(const UserCreated& user) {
  insert_->reset();
  insert_->bind(1, user.userId);
  insert_->bind(2, user.email);
  insert_->exec();
}

Mailer::Mailer(const std::filesystem::path& file, ConsumerOptions options,
               std::function<void(const Delivery&)> before)
    : inbox_(file.string()), before_(std::move(before)), emails_(inbox_.database()) {
  consumer_.emplace(inbox_, std::move(options));
  consumer_->on<UserCreated>("user.created",
                             [this](const UserCreated& user, SQLite::Database&, const Delivery& delivery) {
                               if (before_) before_(delivery);
                               emails_.write(user);
                             });
}

}  // namespace tidings::bench
