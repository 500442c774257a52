#pragma once

// What is to become of a message once the inbox has committed.

#include <chrono>
#include <string>

namespace tidings {

struct Settlement {
  enum class Kind {
    handled,
    duplicate,
    ignored,  ///< no handler takes its type
    retry,
    unavailable,  ///< its handler has said that what it needs is away
    paused,       ///< not started: its handler waits for something that is away
    held_back,    ///< not started: an earlier event of its key waits for its retry
    fenced,       ///< its handler ended too late: the message belongs to a later delivery of it
    not_started,  ///< at a stop, or while no worker is left
    dead_letter
  };
  Kind kind = Kind::handled;
  std::chrono::milliseconds delay{};  ///< before the message is handed out again
  std::string reason{};               ///< why it is tried again or dead-lettered
  int attempts = 0;                   ///< handler starts so far
  std::chrono::nanoseconds took{};    ///< by the handler; 0 when it did not run, or has not ended
  bool pauses_consumer = false;       ///< of unavailable: all handlers, not only its own
};

}  // namespace tidings
