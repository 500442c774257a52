#include "support/nats_cluster.hpp"

#include "support/wait.hpp"

#include <httplib.h>

#include <stdexcept>

namespace tidings::test {

using nlohmann::json;

namespace {

std::string name_of(std::size_t index) { return "n" + std::to_string(index); }

/// One that is being elected does not answer: the next question is worth more than a long wait.
constexpr std::chrono::milliseconds patience{300};

}  // namespace

NatsCluster::NatsCluster(const std::string& config, VirtualNetwork* network) : network_(network) {
  const auto host = [network](std::size_t index) { return network ? network->host(index) : Host{}; };
  const auto route = [&](std::size_t index) {
    return host(index).address + ":" + std::to_string(routes_.at(index).number());
  };
  std::string routes;
  for (std::size_t i = 0; i < size; ++i)
    routes += (routes.empty() ? "\"nats-route://" : ", \"nats-route://") + route(i) + "\"";
  for (std::size_t i = 0; i < size; ++i)
    servers_.at(i) = std::make_unique<NatsServer>(
        NatsServerOptions{.config = "server_name: " + name_of(i) + "\ncluster { name: c, listen: \"" +
                                    route(i) + "\", routes: [" + routes + "] }\n" + config,
                          .arguments = {},
                          .jetstream = true,
                          .monitoring = true,
                          .host = host(i)});
  make_complete();
}

/// A server of nats-server 2.10.23 to 2.10.29 may begin mute when the machine is busy: what its groups have
/// to say is queued for an account that the queue does not know yet (newSendQ() in setSystemAccount()). It
/// hears everything, answers its clients, and is in no group of replicas for as long as it runs.
void NatsCluster::make_complete() {
  for (int starts_left = 2; !becomes_complete(); --starts_left) {
    if (starts_left == 0)
      throw std::runtime_error("the cluster is not complete: " + incomplete_because_ + logs());
    for (const auto index : unheard()) {
      server(index).stop();
      server(index).start();
    }
  }
}

/// Each has its place for a replica, and its say.
bool NatsCluster::becomes_complete() {
  return eventually(20s, [this] { return takes_replicas(); }) &&
         eventually(5s, [this] { return unheard().empty(); });
}

/// A leader may be elected before it knows of all servers that they are there and what they have room for.
/// Having taken the stream, it has more to tell the others than it had before: who hears and does not answer
/// is not current then.
bool NatsCluster::takes_replicas() {
  if (!ask("STREAM.NAMES").contains("total")) {
    incomplete_because_ = "JetStream has no leader";
    return false;
  }
  try {
    client().add_stream("PEERS", {"peers.>"}, {{"num_replicas", size}, {"storage", "memory"}});
    client().delete_stream("PEERS");
    return true;
  } catch (const std::runtime_error& error) {
    incomplete_because_ = error.what();
    return false;
  }
}

/// Of which the leader of JetStream has no answer; all, when none leads.
std::vector<std::size_t> NatsCluster::unheard() {
  std::vector<std::size_t> missing;
  const auto heard = heard_by_leader();
  for (std::size_t i = 0; i < size; ++i)
    if (!heard.contains(name_of(i))) missing.push_back(i);
  for (const auto index : missing)
    incomplete_because_ = name_of(index) + " is not heard by the leader of JetStream";
  return missing;
}

/// Only the leader tells of the others.
std::set<std::string> NatsCluster::heard_by_leader() const {
  for (std::size_t i = 0; i < size; ++i) {
    const auto answer = httplib::Client{servers_.at(i)->monitoring_url()}.Get("/jsz");
    const auto told = json::parse(answer ? answer->body : "", nullptr, false);
    const auto group = told.is_object() ? told.value("meta_cluster", json::object()) : json::object();
    if (group.value("leader", "") != name_of(i)) continue;
    std::set<std::string> heard{name_of(i)};
    for (const auto& other : group.value("replicas", json::array()))
      if (other.value("current", false) && !other.value("offline", false))
        heard.insert(other.value("name", ""));
    return heard;
  }
  return {};
}

std::string NatsCluster::logs() const {
  std::string logs;
  for (const auto& server : servers_) logs += "\n" + server->log();
  return logs;
}

bool NatsCluster::reachable(std::size_t index) const {
  const auto& member = members_.at(index);
  return member.running && !member.paused && !member.cut_off;
}

std::string NatsCluster::url() const {
  std::string urls;
  for (const auto& server : servers_) urls += (urls.empty() ? "" : ",") + server->url();
  return urls;
}

JetStream& NatsCluster::client() const {
  for (std::size_t i = 0; i < size; ++i) {
    if (!reachable(i)) continue;
    auto& client = members_.at(i).client;
    if (!client) client = std::make_unique<JetStream>(servers_.at(i)->url());
    return *client;
  }
  throw std::logic_error("no server of the cluster runs");
}

JetStream& NatsCluster::impatient_client() const {
  for (std::size_t i = 0; i < size; ++i)
    if (reachable(i)) return impatient_client(i);
  throw std::logic_error("no server of the cluster runs");
}

JetStream& NatsCluster::impatient_client(std::size_t index) const {
  auto& client = members_.at(index).impatient;
  if (!client) client = std::make_unique<JetStream>(servers_.at(index)->url(), patience);
  return *client;
}

json NatsCluster::ask(const std::string& request) const {
  for (std::size_t i = 0; i < size; ++i) {
    if (!reachable(i)) continue;
    try {
      return impatient_client(i).api(request);
    } catch (const std::runtime_error&) {  // no leader, or no stream
    }
  }
  return json::object();
}

std::size_t NatsCluster::leader(const std::string& stream) const {
  return leader_in(ask("STREAM.INFO." + stream));
}

std::size_t NatsCluster::leader(const std::string& stream, const std::string& durable) const {
  return leader_in(ask("CONSUMER.INFO." + stream + "." + durable));
}

void NatsCluster::let_lead(std::size_t index, const std::string& stream, const std::string& durable) const {
  const auto what = durable.empty() ? stream : stream + "." + durable;
  const auto now = [&] { return durable.empty() ? leader(stream) : leader(stream, durable); };
  const bool leads = eventually(std::chrono::seconds{60}, [&] {
    const auto old = now();
    if (old == index) return true;
    if (old != none) {
      (void)ask((durable.empty() ? "STREAM" : "CONSUMER") + (".LEADER.STEPDOWN." + what));
      (void)eventually(std::chrono::seconds{2}, [&] { return now() != old && now() != none; });
    }
    return false;
  });
  if (!leads) throw std::runtime_error(name_of(index) + " did not come to lead " + what);
}

std::size_t NatsCluster::leader_in(const json& info) {
  const auto cluster = info.value("cluster", json::object());
  for (std::size_t i = 0; i < size; ++i)
    if (cluster.value("leader", "") == name_of(i)) return i;
  return none;
}

std::size_t NatsCluster::new_leader(const std::string& stream, std::size_t old,
                                    std::chrono::milliseconds deadline) const {
  std::size_t now = none;
  const bool elected = eventually(deadline, [&] {
    now = leader(stream);
    return now != none && now != old;
  });
  if (!elected) throw std::runtime_error("the stream " + stream + " got no new leader");
  return now;
}

void NatsCluster::wait_for_replicas(const std::string& stream, std::chrono::milliseconds deadline) const {
  json cluster;
  const bool current = eventually(deadline, [&] {
    cluster = ask("STREAM.INFO." + stream).value("cluster", json::object());
    const auto replicas = cluster.value("replicas", json::array());
    if (replicas.size() + 1 != size) return false;
    for (const auto& replica : replicas)
      if (!replica.value("current", false) || replica.value("offline", false)) return false;
    return true;
  });
  if (!current) throw std::runtime_error("the stream " + stream + " lacks replicas: " + cluster.dump());
}

void NatsCluster::cut_off(std::size_t index) {
  network_->cut_off(index);
  members_.at(index) = {.cut_off = true};  // its connections would be silent for long after the end of this
}

void NatsCluster::join(std::size_t index) {
  network_->join(index);
  members_.at(index).cut_off = false;
}

void NatsCluster::pause(std::size_t index) {
  server(index).pause();
  members_.at(index).paused = true;
}

void NatsCluster::resume(std::size_t index) {
  server(index).resume();
  members_.at(index).paused = false;
}

void NatsCluster::kill(std::size_t index) {
  server(index).kill();
  members_.at(index).running = members_.at(index).paused = false;
}

void NatsCluster::stop() {
  for (std::size_t i = 0; i < size; ++i) {
    if (members_.at(i).running) server(i).stop();
    members_.at(i).running = members_.at(i).paused = false;
  }
}

void NatsCluster::start() {
  for (std::size_t i = 0; i < size; ++i) {
    if (members_.at(i).running) continue;
    server(i).start();
    members_.at(i).running = true;
  }
  make_complete();
}

}  // namespace tidings::test
