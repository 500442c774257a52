#include "consumer/handlers.hpp"

#include <tidings/error.hpp>

#include <utility>

namespace tidings {

void Handlers::add(const std::string& type, Entry entry) {
  const bool is_pattern = type.size() > 2 && type.ends_with(".*");
  const auto name = is_pattern ? type.substr(0, type.size() - 1) : type;
  if (name.empty() || name.find_first_of("*>") != std::string::npos)
    throw SettingError("a handler for \"" + type + "\": takes a type, or all that begin alike as in user.*" +
                       "; on_any() takes all others");
  entry.type = type;
  if (!(is_pattern ? by_prefix_ : by_type_).emplace(name, std::move(entry)).second)
    throw Error("the type " + type + " already has a handler: each type takes one");
}

void Handlers::add_any(Entry entry) {
  if (any_) throw Error("on_any() has a handler already: it takes one");
  entry.type = "other types";
  any_.emplace(std::move(entry));
}

const Handlers::Entry* Handlers::find(std::string_view type) const {
  if (const auto found = by_type_.find(type); found != by_type_.end()) return &found->second;
  if (!by_prefix_.empty()) {
    for (auto dot = type.rfind('.'); dot != std::string_view::npos && dot > 0; dot = type.rfind('.', dot - 1))
      if (const auto found = by_prefix_.find(type.substr(0, dot + 1)); found != by_prefix_.end())
        return &found->second;
  }
  return any_ ? &*any_ : nullptr;
}

std::optional<std::vector<std::string>> Handlers::types() const {
  if (any_) return std::nullopt;
  std::vector<std::string> types;
  for (const auto* entries : {&by_type_, &by_prefix_})
    for (const auto& [name, entry] : *entries) types.push_back(entry.type);
  return types;
}

std::size_t Handlers::size() const noexcept { return by_type_.size() + by_prefix_.size() + (any_ ? 1 : 0); }

}  // namespace tidings
