#include "resident.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace tidings::bench {

double largest_resident(test::Process& process) {
  double most = 0;
  while (process.running()) {
    std::ifstream status{"/proc/" + std::to_string(process.pid()) + "/status"};
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("VmHWM:")) most = std::max(most, std::stod(line.substr(6)) / 1024);
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  if (process.wait() != test::exited(0)) throw Error("the measured program failed: " + process.err());
  return most;
}

}  // namespace tidings::bench
