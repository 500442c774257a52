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

void Figures::add_flags(CLI::App& app) { app.add_flag("--json", json_, "print one JSON object"); }

double Figures::add(const std::string& key, const std::string& what, const std::function<double()>& measure,
                    int repeats) {
  Figure figure{key, what, 0, {}};
  for (int i = 0; i < repeats; ++i) figure.all.push_back(measure());
  figure.value = percentile(figure.all, 0.5);
  const auto value = figure.value;
  keep(std::move(figure));
  return value;
}

void Figures::pair(const std::string& first_key, const std::string& first_what,
                   const std::function<double()>& first, const std::string& second_key,
                   const std::string& second_what, const std::function<double()>& second,
                   const std::string& ratio_key, const std::string& ratio_what, int repeats) {
  Figure one{first_key, first_what, 0, {}};
  Figure two{second_key, second_what, 0, {}};
  Figure ratio{ratio_key, ratio_what, 0, {}};
  for (int i = 0; i < repeats; ++i) {
    one.all.push_back(first());
    two.all.push_back(second());
    ratio.all.push_back(two.all.back() / one.all.back());
  }
  for (auto* figure : {&one, &two, &ratio}) {
    figure->value = percentile(figure->all, 0.5);
    keep(*figure);
  }
}

void Figures::ratio(const std::string& key, const std::string& what, const std::string& over,
                    const std::string& under) {
  set(key, what, values_.at(over) / values_.at(under));
}

void Figures::set(const std::string& key, const std::string& what, double value) {
  keep({key, what, value, {}});
}

void Figures::keep(Figure figure) {
  values_[figure.key] = figure.value;
  report(figure);
  figures_.push_back(std::move(figure));
}

/// Progress while the bench runs; the table's rows as they come.
void Figures::report(const Figure& figure) const {
  auto& out = json_ ? std::cerr : std::cout;
  char line[160];
  std::snprintf(line, sizeof line, "%-28s %12s  %s", figure.key.c_str(), rounded(figure.value).c_str(),
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
  for (const auto& figure : figures_) object[figure.key] = figure.value;
  std::cout << object.dump() << std::endl;
}

}  // namespace tidings::bench
