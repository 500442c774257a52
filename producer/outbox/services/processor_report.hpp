#pragma once

// A processor as those see it who watch it: from its status and its figures.

#include "services/shared_processor_status.hpp"

#include <tidings/monitor_report.hpp>

namespace tidings {

[[nodiscard]] MonitorReport report_of(const ProcessorStatus& status, const ProcessorFigures& figures,
                                      const HealthLimits& limits);

}  // namespace tidings
