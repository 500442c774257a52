#include "figures.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace tidings::bench {
namespace {

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 1000 ? "%.0f" : "%.3f", value);
  return text;
}

}  // namespace

double seconds(const std::function<void()>& work) {
  const auto begun = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = std::ceil(share * static_cast<double>(values.size())) - 1;
  return values[static_cast<std::size_t>(std::max(0.0, rank))];
}

void Figures::add_flags(CLI::App& app) {
  app.add_flag("--json", json_, "print one JSON object");
  app.add_option("--only", only_, "measure only these figures")->delimiter(',');
}

void Figures::in_turn(const std::vector<Measure>& measures, int rounds) {
  std::vector<Figure> figures;
  for (const auto& measure : measures) figures.push_back({measure.key, measure.what, {}});
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < measures.size(); ++i) {
      if (!wanted(measures[i].key)) continue;
      figures[i].all.push_back(measures[i].measure());
      std::cerr << "round " << round + 1 << " of " << rounds << ": " << measures[i].key << ' '
                << rounded(figures[i].all.back()) << std::endl;
    }
  for (auto& figure : figures) {
    if (figure.all.empty()) continue;
    report(figure);
    figures_.push_back(std::move(figure));
  }
}

void Figures::ratio(const std::string& key, const std::string& what, const std::string& over,
                    const std::string& under) {
  const auto* upper = find(over);
  const auto* lower = find(under);
  if (upper == nullptr || lower == nullptr) return;
  Figure figure{key, what, {}};
  for (std::size_t i = 0; i < std::min(upper->all.size(), lower->all.size()); ++i)
    figure.all.push_back(upper->all[i] / lower->all[i]);
  report(figure);
  figures_.push_back(std::move(figure));
}

void Figures::set(const std::string& key, const std::string& what, double value) {
  figures_.push_back({key, what, {value}});
  report(figures_.back());
}

bool Figures::wanted(const std::string& key) const {
  return only_.empty() || std::find(only_.begin(), only_.end(), key) != only_.end();
}

const Figures::Figure* Figures::find(const std::string& key) const {
  const auto found =
      std::find_if(figures_.begin(), figures_.end(), [&](const Figure& figure) { return figure.key == key; });
  return found == figures_.end() ? nullptr : &*found;
}

/// Progress while the bench runs; the table's rows as they come.
void Figures::report(const Figure& figure) const {
  auto& out = json_ ? std::cerr : std::cout;
  char line[160];
  std::snprintf(line, sizeof line, "%-28s %12s  %s", figure.key.c_str(), rounded(figure.value()).c_str(),
                figure.what.c_str());
  out << line;
  if (figure.all.size() > 1) {
    out << " (";
    for (std::size_t i = 0; i < figure.all.size(); ++i) out << (i > 0 ? " " : "") << rounded(figure.all[i]);
    out << ")";
  }
  out << std::endl;
}

void Figures::print() const {
  if (!json_) return;
  nlohmann::ordered_json object{{"bench", bench_}};
  for (const auto& figure : figures_) object[figure.key] = figure.value();
  std::cout << object.dump() << std::endl;
}

}  // namespace tidings::bench
