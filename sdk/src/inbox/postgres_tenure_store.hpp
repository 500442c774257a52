#pragma once

#include "inbox/tenure_store.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace tidings {

/// The application_name of an owner's sessions: a successor finds them by it.
[[nodiscard]] std::string session_of(const std::string& tenure);

[[nodiscard]] std::unique_ptr<TenureStore> open_postgres_tenures(const std::string& url,
                                                                 const std::string& table_prefix,
                                                                 const std::string& group,
                                                                 std::chrono::milliseconds patience);

}  // namespace tidings
