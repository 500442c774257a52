#pragma once

// Figures of a benchmark: measured several times, the median kept, printed as a
// table or as one JSON object.

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace CLI {
class App;
}

namespace tidings::bench {

[[nodiscard]] double seconds(const std::function<void()>& work);

/// The value that a share of `values` is not above; 0.5 is the median.
[[nodiscard]] double percentile(std::vector<double> values, double share);

class Figures {
 public:
  explicit Figures(std::string bench) : bench_(std::move(bench)) {}

  void add_flags(CLI::App& app);

  /// Measures `repeats` times and keeps the median.
  double add(const std::string& key, const std::string& what, const std::function<double()>& measure,
             int repeats);

  /// Measures two in turn and keeps both medians and the median of the ratios second/first.
  void pair(const std::string& first_key, const std::string& first_what, const std::function<double()>& first,
            const std::string& second_key, const std::string& second_what,
            const std::function<double()>& second, const std::string& ratio_key,
            const std::string& ratio_what, int repeats);

  void ratio(const std::string& key, const std::string& what, const std::string& over,
             const std::string& under);
  void set(const std::string& key, const std::string& what, double value);

  void print() const;

 private:
  struct Figure {
    std::string key, what;
    double value = 0;
    std::vector<double> all;
  };
  void report(const Figure& figure) const;
  void keep(Figure figure);

  std::string bench_;
  bool json_ = false;
  std::vector<Figure> figures_;
  std::map<std::string, double> values_;
};

}  // namespace tidings::bench
