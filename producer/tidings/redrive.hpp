#pragma once

// Sends dead letters again, each to the group that failed it and to no other, in the order of their events. A
// letter is deleted once the stream has confirmed its event: a run that was interrupted is simply repeated.

#include "dead_letter_stream.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// What is known of a letter before it is read again to be sent.
struct RedriveStep {
  std::uint64_t sequence = 0;  ///< of the letter
  std::string stream;          ///< of the event
  std::uint64_t position = 0;  ///< of the event in that stream, before any redrive
  std::string order_key;       ///< what is of one aggregate in one group keeps its order

  [[nodiscard]] static RedriveStep of(const DeadLetter& letter);
};

/// In the order of their events.
[[nodiscard]] std::vector<RedriveStep> in_order(std::vector<RedriveStep> steps);

struct RedriveResult {
  enum class Kind {
    sent,
    sent_before,  ///< by a run that was interrupted before it could delete the letter
    refused       ///< the letter stays
  };
  Kind kind = Kind::refused;
  std::uint64_t new_sequence = 0;
  std::string reason{};  ///< why it was refused
};

class Redrive {
 public:
  Redrive(JetStreamApi& api, DeadLetterStream& letters) : api_(api), letters_(letters) {}

  /// Later letters of a key of which one was refused are refused as well. Throws NatsError when nothing more
  /// can be sent; then this letter and those behind it are still there.
  RedriveResult send(const RedriveStep& step);

 private:
  struct Target {
    bool exists = false;
    std::vector<std::string> subjects;  ///< those of the streams that it mirrors or takes from included
    std::vector<Json> consumers;
  };

  [[nodiscard]] RedriveResult send(DeadLetter letter);
  [[nodiscard]] std::string objection(const DeadLetter& letter);
  [[nodiscard]] std::string address(const DeadLetter& letter);
  [[nodiscard]] std::string restore(DeadLetter& letter);
  void look_up(const std::string& stream, int copies_left, Target& target);
  [[nodiscard]] const Target& target(const std::string& stream);

  JetStreamApi& api_;
  DeadLetterStream& letters_;
  std::map<std::string, Target> targets_;                // by stream
  std::map<std::string, std::uint64_t> refused_by_key_;  // the first letter of each
};

}  // namespace tidings
