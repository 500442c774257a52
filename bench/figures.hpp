#pragma once

// Figures of a benchmark: measured several times in turn with those that they are
// compared with, so that a machine that changes its speed changes it for all of
// them; the median kept, printed as a table or as one JSON object.

#include <chrono>
#include <functional>
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

  struct Measure {
    std::string key, what;
    std::function<double()> measure;
  };
  /// Measures each once, then each again, `rounds` times.
  void in_turn(const std::vector<Measure>& measures, int rounds);

  /// The median of the ratios of each round; left out when one of the two was.
  void ratio(const std::string& key, const std::string& what, const std::string& over,
             const std::string& under);
  void set(const std::string& key, const std::string& what, double value);

  /// False when --only names others.
  [[nodiscard]] bool wanted(const std::string& key) const;

  void print() const;

 private:
  struct Figure {
    std::string key, what;
    std::vector<double> all;  ///< of each round
    [[nodiscard]] double value() const { return percentile(all, 0.5); }
  };
  [[nodiscard]] const Figure* find(const std::string& key) const;
  void report(const Figure& figure) const;

  std::string bench_;
  bool json_ = false;
  std::vector<std::string> only_;
  std::vector<Figure> figures_;
};

}  // namespace tidings::bench
