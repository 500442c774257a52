#include "nats/handle.hpp"
#include "nats/jetstream_request.hpp"
#include "nats/stream_config.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

namespace tidings {
namespace {

using nlohmann::json;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

/// Its info; empty when it is not there.
json find(Connection& connection, const std::string& name) {
  const auto action = "look up the stream " + name;
  auto info = ask_jetstream(connection, "STREAM.INFO." + name, action);
  if (error_code(info) == JSStreamNotFoundErr) return {};
  require_done(info, action);
  return info;
}

void make(Connection& connection, const StreamSpec& spec) {
  // Servers before 2.12 pass over allow_atomic. The structs of nats.c know it only since 3.13.
  const json config{{"name", spec.name},
                    {"subjects", spec.subjects},
                    {"storage", "file"},
                    {"retention", "limits"},
                    {"num_replicas", spec.replicas},
                    {"duplicate_window", duration_cast<nanoseconds>(spec.duplicate_window).count()},
                    {"max_age", duration_cast<nanoseconds>(spec.max_age).count()},
                    {"allow_atomic", true}};
  const auto action = "make the stream " + spec.name;
  const auto answer = ask_jetstream(connection, "STREAM.CREATE." + spec.name, action, config, change_timeout);
  const auto code = error_code(answer);
  if (code == JSStreamNameExistErr) return;  // another process was first; what it made is compared later
  if (code == JSStreamReplicasNotSupportedErr)
    throw NatsError(
        "cannot make the stream " + spec.name + " with " + std::to_string(spec.replicas) +
        " replicas: the NATS server is not in a cluster; change the server or OUTBOX_STREAM_REPLICAS");
  if (code == JSStreamSubjectOverlapErr)
    throw NatsError(
        "cannot make the stream " + spec.name + " for " + spec.subjects.front() +
            ": another stream takes these subjects, or some of them; use that one, or other subjects",
        Error::Retry::yes);
  require_done(answer, action);
  spdlog::info("made stream={} subject={} replicas={}", spec.name, spec.subjects.front(), spec.replicas);
}

}  // namespace

void ensure_stream(Connection& connection, const StreamSpec& spec) {
  auto info = find(connection, spec.name);
  if (info.empty()) {
    make(connection, spec);
    info = find(connection, spec.name);
    if (info.empty())
      throw NatsError("the stream " + spec.name + " was gone right after it was made", Error::Retry::yes);
  }
  compare(info.at("config"), spec);
}

AtomicBatches atomic_batches(Connection& connection, const std::string& stream) {
  try {
    const auto info = find(connection, stream);
    return info.empty() ? AtomicBatches::unknown : atomic_batches(info.at("config"));
  } catch (const NatsError& error) {
    spdlog::debug("whether the stream {} takes batches is not known: {}", stream, error.what());
    return AtomicBatches::unknown;
  }
}

void warn_of_discards(Connection& connection, const std::string& stream) {
  try {
    const auto info = find(connection, stream);
    const auto limits = info.empty() ? std::string{} : discarding_limits(info.at("config"));
    if (limits.empty()) return;
    spdlog::warn(
        "stream {} has {}, expected retention limits and none that discard: events that a group has not seen yet can "
        "be lost; change the stream",
        stream, limits);
  } catch (const NatsError& error) {
    spdlog::debug("the limits of the stream {} are not known: {}", stream, error.what());
  }
}

}  // namespace tidings
