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
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  std::vector<const char*> subjects;
  for (const auto& subject : spec.subjects) subjects.push_back(subject.c_str());
  config.Name = spec.name.c_str();
  config.Subjects = subjects.data();
  config.SubjectsLen = static_cast<int>(subjects.size());
  config.Storage = js_FileStorage;
  config.Retention = js_LimitsPolicy;
  config.Replicas = spec.replicas;
  config.Duplicates = duration_cast<nanoseconds>(spec.duplicate_window).count();
  config.MaxAge = duration_cast<nanoseconds>(spec.max_age).count();
  jsErrCode code{};
  const auto status = js_AddStream(nullptr, jetstream(connection), &config, nullptr, &code);
  if (code == JSStreamNameExistErr) return;  // another process was first; what it made is compared later
  if (code == JSStreamReplicasNotSupportedErr)
    throw NatsError(
        "cannot make the stream " + spec.name + " with " + std::to_string(spec.replicas) +
        " replicas: the NATS server is not in a cluster; change the server or OUTBOX_STREAM_REPLICAS");
  check(status, "make the stream " + spec.name, code);
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
