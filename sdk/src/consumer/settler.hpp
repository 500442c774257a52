#pragma once

// Tells the server what becomes of each message, once the inbox has committed it: ack, nak with a delay, or a
// dead letter and then term. Counts it, and tells the user of failures.

#include "consumer/consumer_context.hpp"
#include "consumer/dead_letter.hpp"
#include "consumer/outage_wait.hpp"
#include "consumer/puller.hpp"
#include "consumer/settlement.hpp"
#include "consumer/strict_order.hpp"

#include <cstddef>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

class Settler {
 public:
  Settler(ConsumerContext& context, Puller& puller, DeadLetters& dead_letters, OutageWait& outage,
          std::stop_token stop);

  /// From now on what is to be tried again stays here.
  void use(StrictOrder& strict) { strict_ = &strict; }

  /// The inbox has committed so many messages; 0 when it has committed only starts.
  void committed(std::size_t messages);
  /// Only after that commit: a crash in between costs a duplicate, never a loss.
  void settle(StreamMessagePtr message, const Settlement& settlement);

  /// Keeps the message until the drain, when the server sends us no more, and gives it back then. Given back
  /// now, it would be handed to us again.
  void keep_for_drain(StreamMessagePtr message) { kept_.push_back(std::move(message)); }
  [[nodiscard]] std::vector<StreamMessagePtr> take_kept() { return std::exchange(kept_, {}); }

 private:
  void count(const std::string& type, Settlement::Kind kind);
  void nak_or_keep(StreamMessagePtr message, const Settlement& settlement);
  void dead_letter(StreamMessagePtr message, const Settlement& settlement);
  void try_dead_letter_later(StreamMessagePtr message);
  void tell_ignored(const std::string& type);
  void tell_failure(const Delivery& delivery, const Settlement& settlement) const;

  ConsumerContext& context_;
  const ConsumerOptions& options_;
  ConsumerMeters& meters_;
  Puller& puller_;
  DeadLetters& dead_letters_;
  OutageWait& outage_;
  std::stop_token stop_;
  StrictOrder* strict_ = nullptr;
  std::vector<StreamMessagePtr> kept_;
  std::set<std::string> ignored_types_;  // those that were logged
};

}  // namespace tidings
