#pragma once

// The filters of a durable. They only ever grow, since instances of an older release may share it.

#include "consumer/type_filter.hpp"

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tidings {

struct GroupFilters {
  const char* field;  ///< of the durable's configuration
  std::vector<std::string> subjects;
};
[[nodiscard]] GroupFilters filters_of(const nlohmann::json& config);

/// The subjects for a durable that has to be made. Throws NatsError.
[[nodiscard]] std::vector<std::string> subjects_for(Connection& connection, const ConsumerOptions& options,
                                                    const TypeFilter& filter);

/// Has a durable that Tidings has made by type hand out what the filter asks for as well, from where it
/// stands. True when it was changed, and has to be looked up again. Throws NatsError.
[[nodiscard]] bool widen_group(Connection& connection, const ConsumerOptions& options,
                               const nlohmann::json& info, const TypeFilter& filter);

}  // namespace tidings
