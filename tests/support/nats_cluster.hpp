#pragma once

// A cluster of three real nats-servers, for what a single one cannot show: leaders,
// elections, and a broker of which a part is away.

#include "support/jetstream.hpp"
#include "support/loopback.hpp"
#include "support/nats_server.hpp"
#include "support/virtual_network.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace tidings::test {

/// Each server keeps its ports and its store over stop() or kill() and start(). Not thread-safe.
class NatsCluster {
 public:
  static constexpr std::size_t size = 3;
  static constexpr std::size_t none = size;

  /// Starts it, and returns when it takes streams of three replicas and all three answer the leader of
  /// JetStream. `config` is for each server.
  /// With a network, each server is on a host of its own there.
  explicit NatsCluster(const std::string& config = {}, VirtualNetwork* network = nullptr);

  [[nodiscard]] NatsServer& server(std::size_t index) { return *servers_.at(index); }
  [[nodiscard]] std::string url() const;  ///< of all three, with commas

  /// A client of one server that runs, is not paused and can be reached.
  [[nodiscard]] JetStream& client() const;
  /// One that gives a request up soon: while a leader is elected it is not answered.
  [[nodiscard]] JetStream& impatient_client() const;

  /// What the first server says that answers `$JS.API.<request>`; empty when none does.
  [[nodiscard]] nlohmann::json ask(const std::string& request) const;

  /// Which server leads the stream; `none` while there is none, or none that answers.
  [[nodiscard]] std::size_t leader(const std::string& stream) const;
  [[nodiscard]] std::size_t leader(const std::string& stream, const std::string& durable) const;
  /// Has leaders step down until this one leads the stream, or its durable when one is named.
  void let_lead(std::size_t index, const std::string& stream, const std::string& durable = {}) const;
  /// Waits until one other than `old` leads the stream. Throws when none does by the deadline: a vote takes
  /// 4 to 9 s (2.9.10), and one that is split is followed by another.
  std::size_t new_leader(const std::string& stream, std::size_t old,
                         std::chrono::milliseconds deadline = std::chrono::seconds{45}) const;
  /// Waits until all replicas of the stream are there and have all that the leader has.
  void wait_for_replicas(const std::string& stream,
                         std::chrono::milliseconds deadline = std::chrono::seconds{20}) const;

  void pause(std::size_t index);
  void resume(std::size_t index);
  void cut_off(std::size_t index);  ///< of a network: from all others and from the test
  void join(std::size_t index);     ///< again
  void kill(std::size_t index);
  void stop();   ///< SIGTERM to all
  void start();  ///< those that do not run, when all others can be reached; returns as the constructor does

 private:
  struct Member {
    bool running = true, paused = false, cut_off = false;
    // Kept: nats.c (before 3.6.1) may crash when a connection is closed while a late answer comes.
    std::unique_ptr<JetStream> client{}, impatient{};
  };
  [[nodiscard]] JetStream& impatient_client(std::size_t index) const;
  [[nodiscard]] bool reachable(std::size_t index) const;
  void make_complete();
  [[nodiscard]] bool becomes_complete();
  [[nodiscard]] bool takes_replicas();
  [[nodiscard]] std::vector<std::size_t> unheard();
  [[nodiscard]] std::set<std::string> heard_by_leader() const;
  [[nodiscard]] std::string logs() const;
  [[nodiscard]] static std::size_t leader_in(const nlohmann::json& info);

  VirtualNetwork* const network_;
  std::array<ReservedPort, size> routes_;
  std::array<std::unique_ptr<NatsServer>, size> servers_;
  mutable std::array<Member, size> members_;
  std::string incomplete_because_;  // that kept it from being complete, as last seen
};

}  // namespace tidings::test
