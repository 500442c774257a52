#pragma once

// Health and metrics as those read them who watch: of a program, and of a consumer or processor in the test.

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"

#include <tidings/monitor_report.hpp>

#include <httplib.h>

#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// What a program serves.
class Monitor {
 public:
  struct Answer {
    int status = 0;  ///< 0: none
    std::string body;
  };

  explicit Monitor(int port) : port_(port) {}
  /// Takes the port from what the program logs after `mark`.
  explicit Monitor(Process& process, const std::string& mark = "health and metrics at http://127.0.0.1:") {
    REQUIRE(process.wait_for_output(mark));
    const auto line = [&process, &mark] {
      const auto log = process.err() + process.out();
      return log.substr(log.find(mark) + mark.size());
    };
    REQUIRE_WITHIN(5s, line().find('\n') != std::string::npos);
    port_ = std::stoi(line());
  }

  [[nodiscard]] Answer get(const std::string& path, const httplib::Headers& headers = {}) const {
    httplib::Client client{"127.0.0.1", port_};
    client.set_read_timeout(20s);
    const auto answer = client.Get(path, headers);
    return answer ? Answer{answer->status, answer->body} : Answer{};
  }
  [[nodiscard]] bool refuses(const std::string& path, const std::string& because) const {
    const auto answer = get(path);
    return answer.status == 503 && answer.body.find(because) != std::string::npos;
  }
  [[nodiscard]] bool ready() const { return get("/readyz").status == 200; }
  [[nodiscard]] bool alive() const { return get("/livez").status == 200; }
  /// A sample's value; -1 when there is none.
  [[nodiscard]] long sample(const std::string& name) const {
    const auto text = '\n' + get("/metrics").body;
    const auto at = text.find('\n' + name + ' ');
    return at == std::string::npos ? -1 : std::stol(text.substr(at + name.size() + 2));
  }

 private:
  int port_ = 0;
};

/// The sample of a metric with this label last; -1 when there is none.
inline double sample(const MonitorReport& report, const std::string& metric, const std::string& label) {
  for (const auto& family : report.metrics)
    for (const auto& one : family.samples)
      if (family.name == metric && one.labels.back().second == label) return one.value;
  return -1;
}

}  // namespace tidings::test
