#include "resident.hpp"

#include "sample_events.hpp"

#include <tidings/error.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace tidings::bench {

std::vector<WireMessage> messages_some_large(int count) {
  constexpr std::size_t one_in = 60, large = 800'000;
  auto messages = sample_messages(count);
  for (std::size_t i = 0; i < messages.size(); i += one_in) {
    auto user = nlohmann::json::parse(messages[i].payload);
    user["name"] = std::string(large, 'x');
    messages[i].payload = user.dump();
  }
  return messages;
}

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
