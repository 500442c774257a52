#pragma once

// What a consumer or an outbox processor says of itself to those who watch it: whether it works, why not, and
// its figures. tidings::http serves it.

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

/// From when on something counts as wrong.
struct HealthLimits {
  /// A loop that is in one step for longer, in a handler or a call of the database, is not alive. Above what
  /// the slowest handler takes.
  std::chrono::milliseconds stalled_after{3000};
  /// An outbox whose oldest pending event is older is not ready.
  std::chrono::milliseconds backlog_age{std::chrono::minutes{5}};
};

/// A family of metrics, by the conventions of Prometheus: base units, `_total` for counters.
struct Metric {
  enum class Type { counter, gauge };
  struct Sample {
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
  };
  std::string name, help;
  Type type = Type::gauge;
  std::vector<Sample> samples{};
};

struct MonitorReport {
  std::string name;                 ///< `outbox processor`, `consumer GROUP`
  std::string stalled{};            ///< why its loop does not go round; empty: it does
  std::string not_ready{};          ///< why it does not do its work; empty: it does
  nlohmann::ordered_json status{};  ///< the members of /api/status beside these
  std::vector<Metric> metrics{};
};

/// An event's type as the value of a label: who writes events chooses their types, so what is no plain name
/// of at most 100 letters, digits and `._-` is `other`.
[[nodiscard]] std::string type_label(const std::string& type);

/// Two samples of one type become their sum.
void add_typed_sample(Metric& metric, const std::string& label, double value);

}  // namespace tidings
