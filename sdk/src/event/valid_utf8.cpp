#include "event/valid_utf8.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tidings {

std::string valid_utf8(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  using Json = nlohmann::json;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace tidings
