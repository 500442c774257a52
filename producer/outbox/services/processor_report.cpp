#include "services/processor_report.hpp"

#include <tidings/timestamp.hpp>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

namespace tidings {
namespace {

using Phase = ProcessorStatus::Phase;

template <class Duration>
double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

std::string whole_seconds(std::chrono::milliseconds duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

std::optional<std::chrono::milliseconds> backlog_age(const ProcessorFigures& figures) {
  if (!figures.oldest_pending) return std::nullopt;
  return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(now() - *figures.oldest_pending),
                  std::chrono::milliseconds{0});
}

std::string why_stalled(const ProcessorStatus& status, const ProcessorFigures& figures,
                        const HealthLimits& limits) {
  if (status.phase == Phase::stopped && !status.waiting_because.empty())
    return "stopped: " + status.waiting_because;
  const auto longest = std::max(figures.reading_for, figures.writing_for);
  if (longest < limits.stalled_after) return {};
  return "no answer for " + whole_seconds(longest) +
         ": the database hangs, or its commits wait for a lock, a disk or a standby";
}

std::string why_not_ready(const ProcessorStatus& status, const ProcessorFigures& figures,
                          const HealthLimits& limits) {
  if (status.phase != Phase::active && status.phase != Phase::standby)
    return to_string(status.phase) + (status.waiting_because.empty() ? "" : ": " + status.waiting_because);
  if (!figures.connected) return to_string(status.phase) + std::string{": NATS: not connected"};
  if (figures.sending_for >= limits.stalled_after)
    return "NATS: no answer for " + whole_seconds(figures.sending_for);
  const auto age = status.phase == Phase::active ? backlog_age(figures) : std::nullopt;
  if (!age || *age < limits.backlog_age) return {};
  return "backlog: the oldest pending event is " + whole_seconds(*age) + " old" +
         (status.unmarked_because.empty() ? "" : ": " + status.unmarked_because);
}

Metric counter(const char* name, const char* help, const ProcessorFigures& figures,
               std::uint64_t ProcessorFigures::Counts::*count) {
  Metric metric{.name = name, .help = help, .type = Metric::Type::counter};
  add_typed_sample(metric, "other", 0);
  for (const auto& [type, counts] : figures.by_type)
    add_typed_sample(metric, type_label(type), static_cast<double>(counts.*count));
  return metric;
}

Metric gauge(const char* name, const char* help, double value) {
  return {.name = name, .help = help, .samples = {{{}, value}}};
}

Metric phases(const ProcessorStatus& status) {
  Metric metric{.name = "tidings_outbox_phase",
                .help = "1 for the phase that the processor is in, 0 for the others."};
  for (std::size_t phase = 0; phase < phase_names.size(); ++phase)
    metric.samples.push_back(
        {{{"phase", phase_names.at(phase)}}, phase == static_cast<std::size_t>(status.phase) ? 1.0 : 0.0});
  return metric;
}

std::vector<Metric> metrics_of(const ProcessorStatus& status, const ProcessorFigures& figures) {
  using Counts = ProcessorFigures::Counts;
  return {counter("tidings_outbox_published_total", "Events that the stream has confirmed.", figures,
                  &Counts::published),
          counter("tidings_outbox_refused_total", "Failed attempts to publish.", figures, &Counts::refused),
          counter("tidings_outbox_dead_lettered_total", "Events given up after their last attempt.", figures,
                  &Counts::dead_lettered),
          gauge("tidings_outbox_in_flight", "Events sent and not confirmed.",
                static_cast<double>(status.in_flight)),
          gauge("tidings_outbox_blocked_aggregates", "Aggregates whose events wait for one that failed.",
                static_cast<double>(status.blocked_aggregates)),
          gauge("tidings_outbox_oldest_pending_age_seconds",
                "Age of the oldest pending event, 0 for none; seen by the active processor only.",
                seconds(backlog_age(figures).value_or(std::chrono::milliseconds{0}))),
          gauge("tidings_outbox_last_write_timestamp_seconds",
                "Unix time of the last write that the database confirmed, 0 for none.",
                figures.last_write ? seconds(figures.last_write->time_since_epoch()) : 0),
          gauge("tidings_outbox_loop_busy_seconds",
                "How long the loop, or the writing of outcomes, has been in one step.",
                seconds(std::max(figures.reading_for, figures.writing_for))),
          gauge("tidings_outbox_nats_wait_seconds",
                "How long the loop has waited for NATS to take what is sent, or to answer.",
                seconds(figures.sending_for)),
          phases(status)};
}

}  // namespace

MonitorReport report_of(const ProcessorStatus& status, const ProcessorFigures& figures,
                        const HealthLimits& limits) {
  MonitorReport report{.name = "outbox processor"};
  report.stalled = why_stalled(status, figures, limits);
  // What stands still cannot have told more of itself.
  report.not_ready = report.stalled.empty() ? why_not_ready(status, figures, limits) : report.stalled;
  report.status = {{"phase", to_string(status.phase)}, {"since", to_iso8601(status.since)}};
  if (!status.waiting_because.empty()) report.status["waitingBecause"] = status.waiting_because;
  if (!status.unmarked_because.empty()) report.status["unmarkedBecause"] = status.unmarked_because;
  report.status.update({{"published", status.published},
                        {"refused", status.refused},
                        {"deadLettered", status.dead_lettered},
                        {"inFlight", status.in_flight},
                        {"blockedAggregates", status.blocked_aggregates}});
  if (const auto age = backlog_age(figures)) report.status["oldestPendingMs"] = age->count();
  report.metrics = metrics_of(status, figures);
  return report;
}

}  // namespace tidings
