#pragma once

// Takes messages through the transactional mode, in which handlers run inside of the inbox's transactions, on
// the consumer's thread.

#include "consumer/batch_executor.hpp"
#include "consumer/key_order.hpp"
#include "consumer/outage_wait.hpp"
#include "consumer/puller.hpp"
#include "consumer/settler.hpp"
#include "consumer/stream_message.hpp"

#include <chrono>
#include <functional>
#include <stop_token>
#include <utility>
#include <vector>

namespace tidings {

/// Belongs to the session's thread.
class TransactionalMode {
 public:
  /// `may_start` is false once no more handlers may be started here.
  TransactionalMode(BatchExecutor& executor, KeyOrder& key_order, Puller& puller, Settler& settler,
                    OutageWait& outage, std::stop_token stop, std::function<bool()> may_start)
      : executor_(executor),
        key_order_(key_order),
        puller_(puller),
        settler_(settler),
        outage_(outage),
        stop_(std::move(stop)),
        may_start_(std::move(may_start)) {}

  /// Handles and settles events, in batches what is handed out for the first time or has waited here since it
  /// failed, in isolation what comes again.
  void handle(std::vector<StreamMessagePtr> messages);
  /// More than is wanted here, since handlers have become slow. Later ones of its key wait until it comes
  /// again.
  void nak_excess(StreamMessagePtr message);

 private:
  using Clock = std::chrono::steady_clock;

  void run_batch(std::vector<StreamMessagePtr> batch);
  void run_isolated(StreamMessagePtr message);

  BatchExecutor& executor_;
  KeyOrder& key_order_;
  Puller& puller_;
  Settler& settler_;
  OutageWait& outage_;
  const std::stop_token stop_;
  const std::function<bool()> may_start_;
};

}  // namespace tidings
