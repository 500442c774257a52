#pragma once

// Users as JSON: what `register --from` and `POST /users` take, and what they answer.

#include "auth_service.hpp"
#include "user.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace tidings {

/// Reads `{"email": …, "name": …}`; other members are passed over. Throws InvalidRegistration
/// with the field that is wrong, and without the text, which may be anyone's.
[[nodiscard]] Registration parse_registration(std::string_view text);

[[nodiscard]] nlohmann::ordered_json to_json(const User& user);

}  // namespace tidings
