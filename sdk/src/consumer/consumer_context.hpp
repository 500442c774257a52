#pragma once

// What a consumer has from its start to its end, over all of its sessions.

#include "consumer/consumer_meters.hpp"
#include "consumer/handlers.hpp"
#include "consumer/shared_status.hpp"
#include "inbox/inbox.hpp"

#include <tidings/consumer_options.hpp>

#include <atomic>
#include <utility>

namespace tidings {

struct ConsumerContext {
  ConsumerContext(Inbox& its_inbox, ConsumerOptions its_options)
      : inbox(its_inbox), options(std::move(its_options)), status(options.on_status) {}

  Inbox& inbox;
  const ConsumerOptions options;
  Handlers handlers;
  std::atomic<bool> running{false};
  ConsumerMeters meters;
  SharedStatus status;
};

}  // namespace tidings
