#pragma once

#include "inbox/table_names.hpp"
#include "inbox/tenure_store.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace tidings {

/// `names` is copied. No call waits longer than `patience` for a lock.
[[nodiscard]] std::unique_ptr<TenureStore> open_sqlite_tenures(const std::string& path, TableNames names,
                                                               std::int64_t group,
                                                               std::chrono::milliseconds patience);

}  // namespace tidings
