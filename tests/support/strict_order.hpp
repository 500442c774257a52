#pragma once

// Groups with Order::strict, and events whose ids tell the order of their keys.

#include "support/consuming.hpp"

#include <map>
#include <string>
#include <vector>

namespace tidings::test {

inline ConsumerOptions strict(ConsumerOptions options) {
  options.order = ConsumerOptions::Order::strict;
  options.lease = 1s;
  options.max_attempts = 1000;
  return options;
}

inline std::string number(int i) {
  auto text = std::to_string(i);
  return std::string(5 - text.size(), '0') + text;
}

/// To ten keys, as key-number, the number growing in each key.
inline void publish_to_keys(Scene& scene, int from, int to) {
  for (int i = from; i < to; ++i) {
    const auto key = "k" + std::to_string(i % 10);
    scene.publish_for(key, key + "-" + number(i));
  }
}

/// Which ids are out of the order of their keys, or came twice; empty in the good case.
inline std::vector<std::string> out_of_order(const std::vector<std::string>& ids) {
  std::map<std::string, std::string> last;
  std::vector<std::string> wrong;
  for (const auto& id : ids) {
    auto& before = last[id.substr(0, id.find('-'))];
    if (id <= before) wrong.push_back(before + " before " + id);
    before = id;
  }
  return wrong;
}

}  // namespace tidings::test
