#include "services/stream_check.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <utility>

namespace tidings {
namespace {

constexpr std::chrono::minutes between_questions{1};

}  // namespace

bool StreamCheck::run() {
  const auto count = replicas();
  if (!std::exchange(warned_, !count) && !count)
    spdlog::warn("nobody says how many replicas the stream {} has: nothing is chained to it",
                 options_.publisher.stream);
  due_ = count ? Clock::time_point::max() : Clock::now() + between_questions;
  return count == 1;
}

std::optional<int> StreamCheck::replicas() {
  if (!options_.manage_stream) return replicas_of(connection_, options_.publisher.stream);
  return ensure_stream(connection_, {.name = options_.publisher.stream,
                                     .subjects = {options_.publisher.subject_prefix + ".>"},
                                     .replicas = options_.stream_replicas});
}

}  // namespace tidings
