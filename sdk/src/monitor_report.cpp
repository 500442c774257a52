#include <tidings/monitor_report.hpp>

#include <algorithm>

namespace tidings {

std::string type_label(const std::string& type) {
  constexpr std::size_t longest = 100;
  const auto plain = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || letter == '.' || letter == '_' || letter == '-';
  };
  return !type.empty() && type.size() <= longest && std::ranges::all_of(type, plain) ? type : "other";
}

void add_typed_sample(Metric& metric, const std::string& label, double value) {
  const auto same = std::ranges::find_if(
      metric.samples, [&](const auto& sample) { return sample.labels.back().second == label; });
  if (same != metric.samples.end())
    same->value += value;
  else
    metric.samples.push_back({{{"type", label}}, value});
}

}  // namespace tidings
