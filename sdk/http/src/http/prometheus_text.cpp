#include "http/prometheus_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace tidings {
namespace {

/// In a label's value a quote is escaped too.
std::string escaped(std::string_view text, bool in_quotes) {
  std::string out;
  for (const char letter : text) {
    if (letter == '\n') {
      out += "\\n";
      continue;
    }
    if (letter == '\\' || (in_quotes && letter == '"')) out += '\\';
    out += letter;
  }
  return out;
}

/// Whole numbers without a fraction or an exponent, as far as a double has them.
std::string number(double value) {
  std::array<char, 32> text{};
  constexpr double whole_up_to = 9e15;
  const bool whole =
      std::abs(value) < whole_up_to && value == static_cast<double>(static_cast<std::int64_t>(value));
  const auto [end, error] = whole ? std::to_chars(text.begin(), text.end(), static_cast<std::int64_t>(value))
                                  : std::to_chars(text.begin(), text.end(), value);
  return error == std::errc{} ? std::string{text.begin(), end} : "NaN";
}

void write(const Metric& metric, std::string& out) {
  out += "# HELP " + metric.name + ' ' + escaped(metric.help, false) + '\n';
  out += "# TYPE " + metric.name + (metric.type == Metric::Type::counter ? " counter\n" : " gauge\n");
  for (const auto& sample : metric.samples) {
    out += metric.name;
    char before = '{';
    for (const auto& [name, value] : sample.labels) {
      out += before + name + "=\"" + escaped(value, true) + '"';
      before = ',';
    }
    out += (sample.labels.empty() ? " " : "} ") + number(sample.value) + '\n';
  }
}

/// Of each report, by its name.
Metric health(const std::vector<MonitorReport>& reports, const char* name, const char* help,
              std::string MonitorReport::*problem) {
  Metric metric{.name = name, .help = help};
  for (const auto& report : reports)
    metric.samples.push_back({{{"name", report.name}}, (report.*problem).empty() ? 1.0 : 0.0});
  return metric;
}

}  // namespace

std::string prometheus_text(const std::vector<MonitorReport>& reports) {
  std::vector<Metric> families{
      health(reports, "tidings_alive", "Whether the loop goes round, as /livez says.",
             &MonitorReport::stalled),
      health(reports, "tidings_ready", "Whether it does its work, as /readyz says.",
             &MonitorReport::not_ready)};
  for (const auto& report : reports) {
    for (const auto& metric : report.metrics) {
      const auto same = std::ranges::find(families, metric.name, &Metric::name);
      if (same == families.end())
        families.push_back(metric);
      else
        same->samples.insert(same->samples.end(), metric.samples.begin(), metric.samples.end());
    }
  }
  std::string out;
  for (const auto& family : families) write(family, out);
  return out;
}

}  // namespace tidings
