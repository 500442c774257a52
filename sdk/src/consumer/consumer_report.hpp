#pragma once

// A consumer as those see it who watch it: from its status and its counts.

#include "consumer/consumer_context.hpp"

#include <tidings/consumer_status.hpp>
#include <tidings/monitor_report.hpp>

namespace tidings {

/// Thread-safe; waits for nothing.
[[nodiscard]] MonitorReport report_of(const ConsumerContext& context, const ConsumerStats& stats,
                                      const HealthLimits& limits);

}  // namespace tidings
