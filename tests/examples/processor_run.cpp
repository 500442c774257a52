#include <tidings/processor_run.hpp>

#include <string>

std::string phase_of(const tidings::ProcessorRun& run) { return tidings::to_string(run.status().phase); }
