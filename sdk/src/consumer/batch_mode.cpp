#include "consumer/batch_mode.hpp"

#include <cstddef>
#include <span>
#include <string_view>
#include <unordered_set>

namespace tidings {

void BatchMode::handle(std::vector<StreamMessagePtr> messages) {
  // What comes again is handled after the others, and so is what follows it in its key.
  std::vector<StreamMessagePtr> again;
  std::unordered_set<std::string_view> keys_again;
  const auto comes_again = [&keys_again](const Delivery& delivery) {
    return delivery.delivered > 1 ||
           (!keys_again.empty() && keys_again.contains(delivery.event.partition_key));
  };
  for (auto& message : messages) {
    if (comes_again(message->delivery)) {
      if (const auto& key = message->delivery.event.partition_key; !key.empty()) keys_again.insert(key);
      again.push_back(std::move(message));
    } else {
      deliveries_.push_back(&message->delivery);
      batch_.push_back(std::move(message));
    }
  }
  run_batch();
  for (auto& message : again) run_isolated(std::move(message));
}

void BatchMode::run_batch() {
  std::size_t done = 0;
  while (done < batch_.size() && !stop_.stop_requested()) {
    std::vector<Settlement> settlements;
    const auto rest = std::span{deliveries_}.subspan(done);
    if (!outage_.until_done("inbox", [&] { settlements = executor_.run_batch(rest); })) break;
    settler_.committed(settlements.size());
    for (const auto& settlement : settlements) settler_.settle(std::move(batch_[done++]), settlement);
  }
  for (; done < batch_.size(); ++done) settler_.keep_for_drain(std::move(batch_[done]));
  batch_.clear();
  deliveries_.clear();
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
