#include <tidings/domain_event.hpp>
#include <tidings/error.hpp>

namespace tidings {

std::string DomainEvent::event_data() const {
  try {
    return nlohmann::ordered_json{{"data", data}, {"metadata", metadata}}.dump();
  } catch (const nlohmann::json::exception& error) {
    throw Error("cannot write the event " + id + ": " + error.what());
  }
}

}  // namespace tidings
