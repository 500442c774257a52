#include "consumer/batch_mode.hpp"

#include <cstddef>
#include <span>
#include <string_view>
#include <unordered_set>

namespace tidings {

void BatchMode::handle(std::vector<StreamMessagePtr> messages) {
  // What comes again is handled after the others, and so is what follows it in its key.
  std::vector<StreamMessagePtr> first, again;
  std::unordered_set<std::string_view> keys_again;
  for (auto& message : messages) {
    const std::string_view key = message->delivery.event.partition_key;
    const bool comes_again =
        message->delivery.delivered > 1 || (!keys_again.empty() && keys_again.contains(key));
    if (comes_again && !key.empty()) keys_again.insert(key);
    (comes_again ? again : first).push_back(std::move(message));
  }
  run_batch(std::move(first));
  for (auto& message : again) run_isolated(std::move(message));
}

void BatchMode::run_batch(std::vector<StreamMessagePtr> batch) {
  std::vector<Delivery*> deliveries;
  deliveries.reserve(batch.size());
  for (const auto& message : batch) deliveries.push_back(&message->delivery);
  std::size_t done = 0;
  while (done < batch.size() && !stop_.stop_requested()) {
    std::vector<Settlement> settlements;
    const auto rest = std::span{deliveries}.subspan(done);
    if (!outage_.until_done("inbox", [&] { settlements = executor_.run_batch(rest); })) break;
    settler_.committed(settlements.size());
    for (const auto& settlement : settlements) settler_.settle(std::move(batch[done++]), settlement);
  }
  for (; done < batch.size(); ++done) settler_.keep_for_drain(std::move(batch[done]));
}

void BatchMode::run_isolated(StreamMessagePtr message) {
  Settlement settlement;
  if (stop_.stop_requested() ||
      !outage_.until_done("inbox", [&] { settlement = executor_.run_isolated(message->delivery); }))
    return settler_.keep_for_drain(std::move(message));
  settler_.committed(1);
  settler_.settle(std::move(message), settlement);
}

}  // namespace tidings
