#include "consumer/handlers.hpp"

#include <utility>

namespace tidings {

bool Handlers::add(const std::string& type, Entry entry) {
  return entries_.emplace(type, std::move(entry)).second;
}

const Handlers::Entry* Handlers::find(const std::string& type) const {
  const auto found = entries_.find(type);
  return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace tidings
