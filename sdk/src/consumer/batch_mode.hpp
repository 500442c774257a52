#pragma once

// Transactional mode of a session: what is handed out for the first time is handled in batches, what was
// handed out before in isolation, and both are then settled.

#include "consumer/batch_executor.hpp"
#include "consumer/outage_wait.hpp"
#include "consumer/settler.hpp"
#include "consumer/stream_message.hpp"

#include <stop_token>
#include <utility>
#include <vector>

namespace tidings {

class BatchMode {
 public:
  BatchMode(BatchExecutor& executor, Settler& settler, OutageWait& outage, std::stop_token stop)
      : executor_(executor), settler_(settler), outage_(outage), stop_(std::move(stop)) {}

  /// In the order of the stream; all of them are events. Returns when each is settled, or kept for the drain.
  void handle(std::vector<StreamMessagePtr> messages);

 private:
  void run_batch(std::vector<StreamMessagePtr> batch);
  void run_isolated(StreamMessagePtr message);

  BatchExecutor& executor_;
  Settler& settler_;
  OutageWait& outage_;
  std::stop_token stop_;
};

}  // namespace tidings
