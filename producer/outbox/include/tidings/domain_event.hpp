#pragma once

// Something that happened to an aggregate. Events derive from it and fill it in their constructors.

#include <tidings/error.hpp>
#include <tidings/timestamp.hpp>
#include <tidings/uuid.hpp>

#include <nlohmann/json.hpp>

#include <string>

namespace tidings {

struct DomainEvent {
  std::string id = new_uuid();
  std::string aggregate_id, aggregate_type;
  std::string event_type;  ///< `user.created`; becomes the end of the subject
  int event_version = 1;
  Timestamp occurred_at = now();
  nlohmann::ordered_json data = nlohmann::ordered_json::object();      ///< what consumers get as payload
  nlohmann::ordered_json metadata = nlohmann::ordered_json::object();  ///< who and why: source, action, trace

  /// The column `eventData`: `{"data": …, "metadata": …}`. Throws Error when a text in it is not UTF-8.
  [[nodiscard]] std::string event_data() const {
    try {
      return nlohmann::ordered_json{{"data", data}, {"metadata", metadata}}.dump();
    } catch (const nlohmann::json::exception& error) {
      throw Error("cannot write the event " + id + ": " + error.what());
    }
  }
};

}  // namespace tidings
