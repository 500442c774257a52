#include "support/consuming.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace tidings::test {

ConsumerOptions consumer_of(const std::string& url) {
  ConsumerOptions options;
  options.group = "mailer";
  options.ack_wait = 30s;
  options.backoff = {.base = 20ms, .max = 100ms};
  options.connection = {};
  options.connection.urls = {url};
  return options;
}

Scene::Scene(const std::string& config, const std::string& login)
    : server({.config = config, .arguments = {}, .jetstream = true, .monitoring = false}),
      js("nats://" + login + "127.0.0.1:" + std::to_string(server.port())) {
  js.add_stream("AUTH_EVENTS", {"auth.events.>"});
}

PublishAck Scene::publish(const std::string& id, const std::string& data, const std::string& type) {
  return js.publish("auth.events." + type, data,
                    {{"Nats-Msg-Id", id}, {"ce-specversion", "1.0"}, {"ce-id", id}, {"ce-type", type}});
}

PublishAck Scene::publish_for(const std::string& key, const std::string& id, const std::string& data) {
  return js.publish("auth.events.user.created", data,
                    {{"Nats-Msg-Id", id},
                     {"ce-specversion", "1.0"},
                     {"ce-id", id},
                     {"ce-type", "user.created"},
                     {"ce-partitionkey", key}});
}

void Scene::publish_many(int count, const std::string& prefix) {
  for (int i = 0; i < count; ++i) publish(prefix + "-" + std::to_string(i));
}

bool Scene::all_acked() {
  if (!has_group()) return false;
  const auto last = js.last_sequence("AUTH_EVENTS");
  const auto state = group();
  // The server counts what is pending a little late (2.10.27): none may be, with none delivered.
  return state.num_pending == 0 && state.num_ack_pending == 0 && state.delivered_to >= last;
}

std::vector<StoredMessage> Scene::dead_letters() {
  const bool any = js.has_stream("AUTH_DLQ") && js.message_count("AUTH_DLQ") > 0;
  return any ? js.messages("AUTH_DLQ") : std::vector<StoredMessage>{};
}

Instance::Instance(const std::string& location, ConsumerOptions options, Handler handler)
    : inbox(location), consumer(inbox, std::move(options)) {
  handle_with(std::move(handler));
}

Instance::Instance(const std::string& location, Connection& connection, ConsumerOptions options,
                   Handler handler)
    : inbox(location), consumer(inbox, connection, std::move(options)) {
  handle_with(std::move(handler));
}

void Instance::handle_with(Handler handler) {
  inbox.make_effects();
  consumer.on<nlohmann::json>("user.created", [this, handler = std::move(handler)](
                                                  const nlohmann::json&, Tx& tx, const Delivery& delivery) {
    record(delivery);
    tx.write_effect(delivery.event.id);
    if (handler) handler(delivery, tx);
  });
}

Instance::Instance(const std::string& location, ConsumerOptions options, WorkersHandler handler)
    : inbox(location), consumer(inbox, std::move(options)) {
  consumer.on<nlohmann::json>(
      "user.created", [this, handler = std::move(handler)](const nlohmann::json&, const Delivery& delivery) {
        record(delivery);
        if (handler) handler(delivery);
      });
}

Instance& Instance::start() {
  ended_ = false;
  thread_ = std::jthread([this](const std::stop_token& stop) {
    try {
      consumer.run(stop);
    } catch (const std::exception& caught) {
      const std::lock_guard lock{mutex_};
      error_ = caught.what();
    }
    ended_ = true;
  });
  return *this;
}

void Instance::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

std::string Instance::error() const {
  const std::lock_guard lock{mutex_};
  return error_;
}

std::vector<Call> Instance::calls() const {
  const std::lock_guard lock{mutex_};
  return calls_;
}

std::vector<Call> Instance::calls_for(const std::string& id) const {
  auto found = calls();
  std::erase_if(found, [&id](const Call& call) { return call.id != id; });
  return found;
}

void Instance::record(const Delivery& delivery) {
  const std::lock_guard lock{mutex_};
  calls_.push_back(
      {delivery.event.id, delivery.attempt, delivery.delivered, std::chrono::steady_clock::now()});
}

void take_time(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  (void)eventually(time + 60s, [end] { return std::chrono::steady_clock::now() >= end; });
}

Instance::Handler on_event(const std::string& id, std::function<void()> action) {
  return [id, action = std::move(action)](const Delivery& delivery, Tx&) {
    if (delivery.event.id == id) action();
  };
}

ConsumerOptions with_workers(ConsumerOptions options, int workers) {
  options.workers = workers;
  return options;
}

std::vector<std::string> ids_of(const std::vector<Call>& calls) {
  std::vector<std::string> ids;
  for (const auto& call : calls) ids.push_back(call.id);
  return ids;
}

std::vector<std::string> unique(std::vector<std::string> ids) {
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  return ids;
}

}  // namespace tidings::test
