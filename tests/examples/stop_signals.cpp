#include <tidings/stop_signals.hpp>

#include <functional>

void until_interrupted(const std::function<void(const std::stop_token&)>& work) {
  const tidings::StopSignals signals;
  work(signals.token());
}
