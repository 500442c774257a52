#pragma once

// Metrics in the text format that Prometheus reads.

#include <tidings/monitor_report.hpp>

#include <string>
#include <vector>

namespace tidings {

/// Families of one name become one.
[[nodiscard]] std::string prometheus_text(const std::vector<MonitorReport>& reports);

}  // namespace tidings
