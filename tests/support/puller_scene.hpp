#pragma once

// A puller without the consumer around it, on a group of its own. Included by tests of the engine's insides.

#include "consumer/puller.hpp"
#include "consumer/type_filter.hpp"
#include "support/consuming.hpp"

namespace tidings::test {

struct PullerScene : Scene {
  /// Asks for `prefetch` messages at a time.
  explicit PullerScene(int prefetch)
      : puller(connection, join_group(connection, settings, TypeFilter{settings.subject_prefix}),
               settings.subject_prefix, {prefetch, 1U << 20}, gauges, [] { return true; }) {}

  const ConsumerOptions settings = options();
  Connection connection{settings.connection};
  GroupGauges gauges;
  Puller puller;
};

}  // namespace tidings::test
