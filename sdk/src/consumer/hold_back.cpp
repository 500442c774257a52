#include "consumer/hold_back.hpp"

namespace tidings {

void HoldBack::settled(const Delivery& delivery, Settlement& settlement, Clock::time_point now) {
  if (!wanted_) return;
  const auto& key = delivery.event.partition_key;
  if (settlement.kind == Settlement::Kind::held_back)
    settlement.delay = held_.hold_behind(key, delivery.stream_sequence, now);
  else if (goes_back(settlement))
    held_.hold(key, delivery.stream_sequence, now + settlement.delay);
  else
    release(delivery);
}

}  // namespace tidings
