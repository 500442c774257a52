#include "nats/handle.hpp"
#include "nats/subject.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace tidings {
namespace {

using std::chrono::duration_cast;
using std::chrono::nanoseconds;

StreamInfoPtr find(Connection& connection, const std::string& name) {
  jsOptions options;
  jsOptions_Init(&options);
  options.Wait = 1000;  // without a leader there is no answer: asking again is better than waiting
  jsStreamInfo* info = nullptr;
  jsErrCode code{};
  const auto status = js_GetStreamInfo(&info, jetstream(connection), name.c_str(), &options, &code);
  if (status == NATS_NOT_FOUND) return nullptr;
  check(status, "look up the stream " + name, code);
  return StreamInfoPtr{info};
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

void compare(const jsStreamConfig& is, const StreamSpec& spec) {
  const auto require = [&spec](bool fits, const char* field, const std::string& value,
                               const std::string& expected) {
    if (!fits)
      throw NatsError("stream " + spec.name + " has " + field + " " + value + ", expected " + expected +
                      ": change the stream or the settings");
  };
  const auto in_seconds = [](nanoseconds time) {
    return std::to_string(duration_cast<std::chrono::seconds>(time).count()) + " s";
  };
  require(is.Storage == js_FileStorage, "storage", "memory", "file");
  require(is.Replicas >= spec.replicas, "num_replicas", std::to_string(is.Replicas),
          "at least " + std::to_string(spec.replicas));
  require(!is.NoAck, "no_ack", "true", "false");
  const nanoseconds window{is.Duplicates};
  require(window >= spec.duplicate_window, "duplicate_window", in_seconds(window),
          "at least " + in_seconds(spec.duplicate_window));
  const std::vector<std::string> subjects(is.Subjects, is.Subjects + is.SubjectsLen);
  std::string present;
  for (const auto& subject : subjects) present += (present.empty() ? "" : ", ") + subject;
  for (const auto& wanted : spec.subjects)
    require(std::ranges::any_of(subjects, [&](const auto& subject) { return covers(subject, wanted); }),
            "subjects", present, wanted);
}

}  // namespace

int ensure_stream(Connection& connection, const StreamSpec& spec) {
  auto info = find(connection, spec.name);
  if (!info) {
    make(connection, spec);
    info = find(connection, spec.name);
    if (!info)
      throw NatsError("the stream " + spec.name + " was gone right after it was made", Error::Retry::yes);
  }
  compare(*info->Config, spec);
  return static_cast<int>(info->Config->Replicas);
}

std::optional<int> replicas_of(Connection& connection, const std::string& stream) {
  try {
    const auto info = find(connection, stream);
    if (info) return static_cast<int>(info->Config->Replicas);
  } catch (const NatsError&) {
  }
  return std::nullopt;
}

}  // namespace tidings
