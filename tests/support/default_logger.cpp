// ThreadSanitizer does not see that libspdlog, which is not built for it, makes its default logger once
// only, whoever asks first. So it is made here, before there is a second thread.

#include <spdlog/spdlog.h>

namespace {

[[maybe_unused]] const auto* const default_logger = spdlog::default_logger_raw();

}  // namespace
