#pragma once

#include "support/environment.hpp"

#include <optional>
#include <string>

namespace tidings::test {

/// The nats-server with atomic batches (2.12 and later) that scripts/newer-nats has got, or that
/// TIDINGS_NEWER_NATS_SERVER names. Where there is none the test is told of it: it has failed in CI
/// (TIDINGS_CI), and elsewhere has nothing to do.
[[nodiscard]] std::optional<std::string> newer_nats();

/// Servers that are made while this lives run that program.
class NatsProgram {
 public:
  explicit NatsProgram(const std::string& path) : chosen_("TIDINGS_NATS_SERVER", path) {}

 private:
  EnvironmentVariable chosen_;
};

}  // namespace tidings::test
