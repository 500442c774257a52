#pragma once

// Where Tidings logs to, for applications that have a log of their own.

#include <functional>
#include <string_view>

namespace tidings {

enum class LogLevel { debug, info, warning, error };

/// Gives each line that Tidings logs from now on to `sink`, instead of to spdlog's default logger (standard
/// output): an event with its fields, without time and line break. What `sink` throws is lost. Lines below
/// `least` are left out. An empty `sink` brings the former logger back.
///
/// Call it before consumers and processors run. `sink` is called on any of their threads, one at a time; it
/// must not call Tidings. An application that logs by spdlog needs none of this: Tidings uses the same
/// default logger.
void set_log_sink(std::function<void(LogLevel, std::string_view)> sink, LogLevel least = LogLevel::info);

}  // namespace tidings
