#include "infrastructure/outcome_store.hpp"

#include "event/valid_utf8.hpp"

namespace tidings {
namespace {

constexpr std::size_t longest_error = 1000;

}  // namespace

std::string Outcome::short_error() const {
  auto text = error;
  cut_utf8(text, longest_error);
  return text;
}

}  // namespace tidings
