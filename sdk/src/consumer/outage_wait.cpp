#include "consumer/outage_wait.hpp"

#include "retry_loop.hpp"

#include <spdlog/spdlog.h>

namespace tidings {

bool OutageWait::until_done(const char* what, const std::function<void()>& work) {
  std::string logged;  // one line for each reason, not for each try
  const bool done = retry(stop_, work, [&](const Error& error) {
    end_if_lost();
    if (stop_.stop_requested()) return;
    const auto why = reason(error);
    context_.status.set(ConsumerStatus::State::waiting, why);
    context_.pulse.step();
    if (logged != why) spdlog::warn("{}; trying again", why);  // an error says itself where it comes from
    logged = why;
  });
  if (done && !logged.empty()) spdlog::info("{}: resumed", what);
  return done;
}

void OutageWait::end_if_lost() {
  if (!context_.inbox.lost().empty()) context_.control.end_session();
}

std::string OutageWait::reason(const Error& error) const {
  std::string text = error.what();
  if (dynamic_cast<const NatsError*>(&error) == nullptr) return text;
  const auto refusal = refusal_of_group(connection_, context_.options.group);
  return refusal.empty() ? text : text + ": " + refusal;
}

}  // namespace tidings
