#include <tidings/processor_status.hpp>

bool is_healthy(const tidings::ProcessorStatus& status) {
  using Phase = tidings::ProcessorStatus::Phase;
  return status.phase == Phase::active || status.phase == Phase::standby;
}
