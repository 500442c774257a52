#pragma once

// The whole flow as real processes: auth-service, tidings relay and consumers in
// a folder of their own, on a nats-server of their own.

#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <string>
#include <vector>

namespace tidings::test {

class Programs {
 public:
  Programs();

  [[nodiscard]] Finished auth_service(const std::vector<std::string>& arguments,
                                      const std::string& input = {});
  [[nodiscard]] Finished tidings(const std::vector<std::string>& arguments);
  [[nodiscard]] Process start_relay(const std::vector<std::string>& arguments = {});
  [[nodiscard]] Process start_serving();  ///< auth-service's HTTP endpoint on a free port
  [[nodiscard]] Process start_registering(const std::string& lines,
                                          const std::vector<std::string>& arguments = {});
  [[nodiscard]] Process start_consumer(const std::vector<std::string>& arguments = {});

  [[nodiscard]] std::string auth_db() const { return (folder_ / "auth.db").string(); }
  [[nodiscard]] std::string inbox_db() const { return (folder_ / "welcome.db").string(); }

  /// A count from either database; 0 while its tables are not there yet.
  [[nodiscard]] std::int64_t in_auth(const std::string& query) const;
  [[nodiscard]] std::int64_t in_inbox(const std::string& query) const;

  NatsServer server;
  JetStream jetstream;

 private:
  [[nodiscard]] ProcessOptions options(std::string input = {}) const;

  TempDir folder_;
};

/// JSON lines of `count` users.
[[nodiscard]] std::string user_lines(int count);

}  // namespace tidings::test
