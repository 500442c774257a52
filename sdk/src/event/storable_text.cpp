#include "event/storable_text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tidings {

std::string storable_text(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  using Json = nlohmann::json;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace tidings
