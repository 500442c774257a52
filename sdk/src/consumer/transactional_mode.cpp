#include "consumer/transactional_mode.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <unordered_set>

namespace tidings {

void TransactionalMode::handle(std::vector<StreamMessagePtr> messages) {
  // What the group hands out again is handled after the others, and so is what follows it in its key.
  std::vector<StreamMessagePtr> first, again;
  std::unordered_set<std::string> keys_again;
  for (auto& message : messages) {
    const auto& delivery = message->delivery;
    bool comes_again =
        delivery.delivered > 1 && !message->retried_here && !executor_.breakers().never_started(delivery);
    if (comes_again || !keys_again.empty()) {
      auto key = order_key(delivery.event);
      comes_again = comes_again || keys_again.contains(key);
      if (comes_again && !key.empty()) keys_again.insert(std::move(key));
    }
    (comes_again ? again : first).push_back(std::move(message));
  }
  run_batch(std::move(first));
  for (auto& message : again)
    if (!message->lapsed()) run_isolated(std::move(message));
}

void TransactionalMode::nak_excess(StreamMessagePtr message) {
  Settlement settlement{.kind = Settlement::Kind::not_started};
  key_order_.settled(message->delivery, settlement, Clock::now());
  settler_.settle(std::move(message), settlement);
}

void TransactionalMode::run_batch(std::vector<StreamMessagePtr> batch) {
  std::vector<Delivery*> deliveries;
  deliveries.reserve(batch.size());
  for (const auto& message : batch) deliveries.push_back(&message->delivery);
  std::size_t done = 0;
  while (done < batch.size() && may_start_() && puller_.excess() == 0 && !batch[done]->lapsed()) {
    std::vector<Settlement> settlements;
    const auto rest = std::span{deliveries}.subspan(done);
    if (!outage_.until_done("inbox", [&] { settlements = executor_.run_batch(rest); })) break;
    settler_.committed(settlements.size());
    for (const auto& settlement : settlements) settler_.settle(std::move(batch[done++]), settlement);
  }
  for (; done < batch.size(); ++done)
    if (stop_.stop_requested() && !batch[done]->lapsed())
      settler_.keep_for_drain(std::move(batch[done]));
    else if (!batch[done]->lapsed())
      nak_excess(std::move(batch[done]));
}

void TransactionalMode::run_isolated(StreamMessagePtr message) {
  Settlement settlement;
  if (!stop_.stop_requested() && (puller_.excess() > 0 || !may_start_()))
    return nak_excess(std::move(message));
  if (stop_.stop_requested() ||
      !outage_.until_done("inbox", [&] { settlement = executor_.run_isolated(message->delivery); }))
    return settler_.keep_for_drain(std::move(message));
  settler_.committed(1);
  settler_.settle(std::move(message), settlement);
}

}  // namespace tidings
