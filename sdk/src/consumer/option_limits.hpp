#pragma once

// The limits of a consumer's options, for what is set in code and for what the environment says. Does no I/O.

#include <tidings/consumer_options.hpp>

#include <string>

namespace tidings {

/// Throws SettingError naming the option that cannot be used, its value and what it takes.
void validate(const ConsumerOptions& options);

/// The same for what is set for one type of events.
void validate(const std::string& type, const RetryPolicy& retry);

}  // namespace tidings
