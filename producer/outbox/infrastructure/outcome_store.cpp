#include "infrastructure/outcome_store.hpp"

namespace tidings {
namespace {

constexpr std::size_t longest_error = 1000;

}  // namespace

std::string Outcome::short_error() const {
  if (error.size() <= longest_error) return error;
  std::size_t end = longest_error;
  while (end > longest_error - 3 && (static_cast<unsigned char>(error[end]) & 0xc0U) == 0x80U) --end;
  return error.substr(0, end);
}

}  // namespace tidings
