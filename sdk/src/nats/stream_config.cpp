#include "nats/stream_config.hpp"

#include "nats/subject.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <sstream>

namespace tidings {
namespace {

using nlohmann::json;
using std::chrono::nanoseconds;

constexpr auto harmless_age = std::chrono::hours{24};

std::string in_seconds(nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count()) + " s";
}

/// The member if it is there and not null, as servers write either.
json member(const json& object, const char* name, const json& otherwise) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? otherwise : *found;
}

std::int64_t number(const json& config, const char* name) { return config.value(name, std::int64_t{0}); }

std::string retention_of(const json& config) { return config.value("retention", std::string{"limits"}); }

json origins(const json& config) {
  auto all = member(config, "sources", json::array());
  if (config.contains("mirror") && config.at("mirror").is_object()) all.push_back(config.at("mirror"));
  return all;
}

/// What a transform's destination can become: `{{wildcard(1)}}` and `$1` stand for anything.
std::string with_wildcards(const std::string& destination) {
  std::istringstream tokens{destination};
  std::string subject;
  for (std::string token; std::getline(tokens, token, '.');) {
    const bool any = token.find("{{") != std::string::npos || token.starts_with('$');
    subject += (subject.empty() ? "" : ".") + (any ? "*" : token);
  }
  return subject;
}

SubjectTransform read_transform(const json& config) {
  const auto source = config.value("src", std::string{});
  return {source.empty() ? ">" : source, with_wildcards(config.value("dest", std::string{}))};
}

/// Each event of a type has the type's subject. Without the second field, this limit drops old messages
/// whatever `discard` says.
bool drops_old_per_subject(const json& config) {
  const bool refuses_new =
      config.value("discard", std::string{}) == "new" && config.value("discard_new_per_subject", false);
  return number(config, "max_msgs_per_subject") > 0 && !refuses_new;
}

void add_from(const json& origin, std::vector<std::string>& stored) {
  const auto transforms = member(origin, "subject_transforms", json::array());
  for (const auto& transform : transforms) stored.push_back(read_transform(transform).destination);
  if (!transforms.empty()) return;
  const auto filter = origin.value("filter_subject", std::string{});
  stored.push_back(filter.empty() ? ">" : filter);
}

}  // namespace

AtomicBatches atomic_batches(const json& config) {
  if (config.value("allow_atomic", false)) return AtomicBatches::allowed;
  // Servers from 2.11 on say of which level their API is; 2 is that of 2.12.
  const auto level = config.value(json::json_pointer{"/metadata/_nats.level"}, std::string{});
  return level.empty() || level == "0" || level == "1" ? AtomicBatches::unknown : AtomicBatches::not_allowed;
}

std::string list_of(const std::vector<std::string>& subjects) {
  std::string list;
  for (const auto& subject : subjects) list += (list.empty() ? "" : ", ") + subject;
  return list;
}

std::string origin_of(const json& config) {
  std::vector<std::string> names;
  for (const auto& origin : origins(config)) names.push_back(origin.value("name", std::string{}));
  if (names.empty()) return {};
  return (config.contains("mirror") ? "mirror " : "sources ") + list_of(names);
}

std::optional<SubjectTransform> transform_of(const json& config) {
  const auto transform = member(config, "subject_transform", {});
  return transform.is_object() ? std::optional{read_transform(transform)} : std::nullopt;
}

bool renames_subjects(const json& config) {
  const auto from_elsewhere = origins(config);
  return transform_of(config) || std::ranges::any_of(from_elsewhere, [](const auto& origin) {
           return !member(origin, "subject_transforms", json::array()).empty() ||
                  !origin.value("subject_transform_dest", std::string{}).empty();
         });
}

std::vector<std::string> stored_subjects(const json& config) {
  std::vector<std::string> stored;
  const auto transform = transform_of(config);
  for (const auto& subject : member(config, "subjects", json::array())) {
    const auto text = subject.get<std::string>();
    if (transform && overlaps(transform->source, text)) stored.push_back(transform->destination);
    if (!transform || !covers(transform->source, text)) stored.push_back(text);
  }
  for (const auto& origin : origins(config)) add_from(origin, stored);
  return stored;
}

void compare(const json& config, const StreamSpec& spec) {
  const auto require = [&spec](bool fits, const char* field, const std::string& value,
                               const std::string& expected) {
    if (!fits)
      throw NatsError("stream " + spec.name + " has " + field + " " + value + ", expected " + expected +
                      ": change the stream or the settings");
  };
  const auto origin = origin_of(config);
  const bool reads = spec.use == StreamSpec::Use::read;
  if (!reads && config.contains("mirror"))
    throw NatsError("stream " + spec.name + " has " + origin +
                    ", expected none: a mirror takes no events, publish to its origin");
  require(config.value("storage", std::string{}) == "file", "storage", "memory", "file");
  const auto replicas = config.value("num_replicas", 1);
  require(replicas >= spec.replicas, "num_replicas", std::to_string(replicas),
          "at least " + std::to_string(spec.replicas));
  require(reads || !config.value("no_ack", false), "no_ack", "true", "false");
  require(reads || !config.value("sealed", false), "sealed", "true", "false");
  // These two give a PubAck for what they do not keep.
  require(reads || retention_of(config) != "interest", "retention", "interest", "limits");
  require(reads || !drops_old_per_subject(config) || number(config, "max_msgs_per_subject") > 1,
          "max_msgs_per_subject", "1", "none");
  const nanoseconds window{number(config, "duplicate_window")};
  require(reads || window >= spec.duplicate_window, "duplicate_window", in_seconds(window),
          "at least " + in_seconds(spec.duplicate_window));
  const auto subjects = member(config, "subjects", json::array()).get<std::vector<std::string>>();
  const auto present = reads ? stored_subjects(config) : subjects;
  for (const auto& wanted : spec.subjects)
    require(std::ranges::any_of(present,
                                [&](const auto& subject) {
                                  return origin.empty() || !reads ? covers(subject, wanted)
                                                                  : overlaps(subject, wanted);
                                }),
            "subjects", list_of(present), wanted);
}

std::string discarding_limits(const json& config) {
  std::vector<std::string> limits;
  const auto retention = retention_of(config);
  if (retention != "limits") limits.push_back("retention " + retention);
  const bool drops_old = config.value("discard", std::string{"old"}) == "old";
  const auto add = [&](const char* limit) {
    limits.push_back(limit + (" " + std::to_string(number(config, limit))));
  };
  if (drops_old_per_subject(config)) add("max_msgs_per_subject");
  for (const auto* limit : {"max_msgs", "max_bytes"})
    if (drops_old && number(config, limit) > 0) add(limit);
  const nanoseconds age{number(config, "max_age")};
  if (age.count() > 0 && age < harmless_age) limits.push_back("max_age " + in_seconds(age));
  return list_of(limits);
}

}  // namespace tidings
