#include "registration_json.hpp"

#include <tidings/timestamp.hpp>

namespace tidings {
namespace {

nlohmann::json parse_object(std::string_view text) {
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw InvalidRegistration("not JSON: wrong at byte " + std::to_string(error.byte));
  }
  if (!json.is_object()) throw InvalidRegistration("not a JSON object with email and name");
  return json;
}

std::string text_member(const nlohmann::json& object, const std::string& name) {
  const auto member = object.find(name);
  if (member == object.end()) throw InvalidRegistration(name + ": missing");
  if (!member->is_string()) throw InvalidRegistration(name + ": must be a text");
  return member->get<std::string>();
}

}  // namespace

Registration parse_registration(std::string_view text) {
  const auto object = parse_object(text);
  return {text_member(object, "email"), text_member(object, "name")};
}

nlohmann::ordered_json to_json(const User& user) {
  return {{"id", user.id},
          {"email", user.email},
          {"name", user.name},
          {"emailVerified", user.email_verified},
          {"createdAt", to_iso8601(user.created_at)}};
}

}  // namespace tidings
