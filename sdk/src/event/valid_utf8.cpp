#include "event/valid_utf8.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tidings {

std::string valid_utf8(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  using Json = nlohmann::json;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

void cut_utf8(std::string& text, std::size_t longest) {
  constexpr std::size_t most_continuations = 3;
  if (text.size() <= longest) return;
  auto end = longest;
  const auto continues = [&] { return (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U; };
  while (end > 0 && end + most_continuations > longest && continues()) --end;
  text.resize(end);
}

}  // namespace tidings
