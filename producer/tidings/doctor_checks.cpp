#include "doctor_checks.hpp"

#include <tidings/error.hpp>

#include <exception>

namespace tidings {

using Outcome = Finding::Outcome;

Finding look(const std::function<Finding()>& check, const std::string& fix) {
  try {
    return check();
  } catch (const SettingError&) {
    throw;
  } catch (const std::exception& error) {
    return {Outcome::failed, error.what(), fix};
  }
}

Finding compare_clocks(const std::string& whose, std::chrono::milliseconds ahead) {
  const auto difference = std::chrono::abs(ahead);
  const auto detail = whose + " is " + std::to_string(difference.count()) + " ms " +
                      (ahead.count() < 0 ? "behind" : "ahead of") + " this machine's";
  if (difference <= tolerated_difference) return {Outcome::ok, detail};
  return {Outcome::failed, detail, "set the clocks of both machines (NTP)"};
}

}  // namespace tidings
