#include "inbox/tenure_store.hpp"

#include <array>
#include <cstdio>
#include <random>

namespace tidings {

std::string new_tenure() {
  std::random_device random;
  std::string tenure;
  for (int part = 0; part < 4; ++part) {
    std::array<char, 9> hex{};
    std::snprintf(hex.data(), hex.size(), "%08x", random());
    tenure += hex.data();
  }
  return tenure;
}

}  // namespace tidings
