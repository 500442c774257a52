#include "nats/handle.hpp"
#include "nats/subject.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace tidings {
namespace {

using std::chrono::duration_cast;
using std::chrono::nanoseconds;
using std::chrono::seconds;

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

[[noreturn]] void differs(const StreamSpec& spec, const std::string& field, const std::string& is,
                          const std::string& wanted) {
  throw NatsError("stream " + spec.name + " has " + field + " " + is + ", expected " + wanted +
                  ": change the stream or the settings");
}

std::string seconds_text(int64_t nanos) {
  return std::to_string(duration_cast<seconds>(nanoseconds{nanos}).count()) + " s";
}

void compare(const jsStreamConfig& is, const StreamSpec& spec) {
  if (is.Storage != js_FileStorage) differs(spec, "storage", "memory", "file");
  if (is.Replicas < spec.replicas)
    differs(spec, "num_replicas", std::to_string(is.Replicas), "at least " + std::to_string(spec.replicas));
  if (is.NoAck) differs(spec, "no_ack", "true", "false");
  if (is.Duplicates < duration_cast<nanoseconds>(spec.duplicate_window).count())
    differs(spec, "duplicate_window", seconds_text(is.Duplicates),
            "at least " + std::to_string(spec.duplicate_window.count()) + " s");
  const std::vector<std::string> subjects(is.Subjects, is.Subjects + is.SubjectsLen);
  std::string present;
  for (const auto& subject : subjects) present += (present.empty() ? "" : ", ") + subject;
  for (const auto& wanted : spec.subjects)
    if (std::ranges::none_of(subjects, [&](const auto& subject) { return covers(subject, wanted); }))
      differs(spec, "subjects", present, wanted);
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
