#include <tidings/consumer_options.hpp>

tidings::ConsumerOptions options() {
  auto options = tidings::ConsumerOptions::from_environment();  // NATS_URL, CONSUMER_MAX_ATTEMPTS, …
  options.group = "welcome-mailer";
  options.on_failure = [](const tidings::Failure& failure) {
    if (failure.dead_letter) std::terminate();
  };
  return options;
}
