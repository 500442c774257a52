#include "consumer/consumer_report.hpp"

#include <tidings/timestamp.hpp>

#include <array>
#include <chrono>
#include <string>
#include <utility>

namespace tidings {
namespace {

using std::chrono::system_clock;

const char* name_of(ConsumerStatus::State state) {
  static constexpr std::array names{"stopped", "joining", "running", "waiting", "draining", "paused"};
  return names.at(static_cast<std::size_t>(state));
}

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

std::string whole_seconds(std::chrono::milliseconds duration) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(duration).count()) + " s";
}

/// The metrics of one consumer, each with the label of its group.
class Metrics {
 public:
  Metrics(std::string group, const ConsumerStats& stats) : group_(std::move(group)), stats_(stats) {}

  void count(const char* name, const char* help, std::uint64_t value) {
    add(name, help, Metric::Type::counter, static_cast<double>(value));
  }
  void gauge(const char* name, const char* help, double value) {
    add(name, help, Metric::Type::gauge, value);
  }

  void count_by_type(const char* name, const char* help, std::uint64_t TypeStats::*count) {
    Metric metric{.name = name, .help = help, .type = Metric::Type::counter};
    add_typed_sample(metric, "other", 0);
    for (const auto& [type, counts] : stats_.by_type)
      add_typed_sample(metric, type_label(type), static_cast<double>(counts.*count));
    for (auto& sample : metric.samples) sample.labels.insert(sample.labels.begin(), {"group", group_});
    all.push_back(std::move(metric));
  }

  void percentiles(const char* name, const char* help, std::chrono::microseconds p50,
                   std::chrono::microseconds p99) {
    all.push_back({.name = name,
                   .help = help,
                   .samples = {{{{"group", group_}, {"percentile", "50"}}, seconds(p50)},
                               {{{"group", group_}, {"percentile", "99"}}, seconds(p99)}}});
  }

  std::vector<Metric> all;

 private:
  void add(const char* name, const char* help, Metric::Type type, double value) {
    all.push_back({.name = name, .help = help, .type = type, .samples = {{{{"group", group_}}, value}}});
  }

  const std::string group_;
  const ConsumerStats& stats_;
};

std::vector<Metric> metrics_of(const ConsumerContext& context, const ConsumerStats& stats) {
  Metrics metrics{context.options.group, stats};
  metrics.count("tidings_consumer_received_total", "Messages taken from the stream, with redeliveries.",
                stats.received);
  metrics.count_by_type("tidings_consumer_handled_total", "Events whose effects are committed.",
                        &TypeStats::handled);
  metrics.count("tidings_consumer_duplicates_total", "Messages acked without a second effect.",
                stats.duplicates);
  metrics.count_by_type("tidings_consumer_retried_total", "Failed attempts that are tried again.",
                        &TypeStats::retried);
  metrics.count_by_type("tidings_consumer_unavailable_total",
                        "Attempts given up, since what they need was away.", &TypeStats::unavailable);
  metrics.count_by_type("tidings_consumer_dead_lettered_total", "Messages stored on the dead-letter stream.",
                        &TypeStats::dead_lettered);
  metrics.count_by_type("tidings_consumer_ignored_total", "Messages acked without a handler.",
                        &TypeStats::ignored);
  metrics.count("tidings_consumer_fenced_total", "Handlers that ended too late, without effect.",
                stats.fenced);
  metrics.count("tidings_consumer_commits_total", "Commits of the inbox.", stats.commits);
  metrics.gauge("tidings_consumer_in_flight", "Messages here that are not settled.",
                static_cast<double>(stats.in_flight));
  metrics.gauge("tidings_consumer_lag", "Messages of the group that no instance has yet, as last seen.",
                static_cast<double>(stats.lag));
  metrics.percentiles("tidings_consumer_handling_seconds", "How long handlers took of late.",
                      stats.handling_p50, stats.handling_p99);
  metrics.percentiles("tidings_consumer_event_age_seconds",
                      "From an event's time to the commit of its effects, of late.", stats.age_p50,
                      stats.age_p99);
  metrics.gauge("tidings_consumer_last_commit_timestamp_seconds", "Unix time of the last commit, 0 for none.",
                seconds(system_clock::duration{context.meters.last_commit.load()}));
  metrics.gauge("tidings_consumer_loop_busy_seconds", "How long the loop has been in one step.",
                seconds(context.pulse.busy_for()));
  metrics.gauge("tidings_consumer_handler_running_seconds",
                "How long the handler has run that runs longest, 0 for none.",
                seconds(context.handler.busy_for()));
  metrics.gauge("tidings_consumer_overdue_handlers",
                "Handlers that have run for longer than handler_time_limit and hold a worker.",
                static_cast<double>(context.overdue_handlers));
  return std::move(metrics.all);
}

std::string why_stalled(const ConsumerContext& context, const ConsumerStatus& status,
                        const HealthLimits& limits) {
  if (status.state == ConsumerStatus::State::stopped && !status.reason.empty())
    return "stopped: " + status.reason;
  const auto busy = context.pulse.busy_for();
  if (busy < limits.stalled_after) return {};
  const auto by = context.status.held_up_by();
  return "no round for " + whole_seconds(busy) + (by.empty() ? "" : ": " + by);
}

}  // namespace

MonitorReport report_of(const ConsumerContext& context, const ConsumerStats& stats,
                        const HealthLimits& limits) {
  const auto status = context.status.get();
  MonitorReport report{.name = "consumer " + context.options.group};
  report.stalled = why_stalled(context, status, limits);
  if (!status.ready())
    report.not_ready = name_of(status.state) + (status.reason.empty() ? "" : ": " + status.reason);
  else if (const auto waits = context.nats.busy_for(); waits >= limits.stalled_after)
    report.not_ready = "NATS: no answer for " + whole_seconds(waits);
  else
    report.not_ready = report.stalled;
  report.status = {{"state", name_of(status.state)}};
  if (!status.reason.empty()) report.status["reason"] = status.reason;
  report.status.update({{"since", to_iso8601(std::chrono::floor<std::chrono::milliseconds>(status.since))},
                        {"group", context.options.group},
                        {"received", stats.received},
                        {"handled", stats.handled},
                        {"duplicates", stats.duplicates},
                        {"retried", stats.retried},
                        {"deadLettered", stats.dead_lettered},
                        {"ignored", stats.ignored},
                        {"commits", stats.commits},
                        {"inFlight", stats.in_flight},
                        {"lag", stats.lag}});
  report.metrics = metrics_of(context, stats);
  return report;
}

}  // namespace tidings
