#include <tidings/consumer_status.hpp>

std::string health(const tidings::ConsumerStatus& status, const tidings::ConsumerStats& stats) {
  return status.ready() ? "ready, lag " + std::to_string(stats.lag) : "waiting for " + status.reason;
}
