#include "registration_input.hpp"

#include "event/valid_utf8.hpp"

#include <tidings/uuid.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>

namespace tidings {
namespace {

// RFC 5321, section 4.5.3.1, and RFC 3696, erratum 1690.
constexpr std::size_t longest_local_part = 64, longest_address = 254, longest_label = 63;
constexpr std::size_t longest_name = 255;  // characters

[[noreturn]] void refuse(const std::string& field, const std::string& why) {
  throw InvalidRegistration(field + ": " + why);
}

/// Refuses what is not UTF-8 (RFC 3629: no overlong form, no surrogate, nothing past U+10FFFF).
std::u32string characters(const std::string& field, const std::string& text) {
  const auto valid = valid_utf8(text);
  // NUL is a character.
  const auto same = [](char given, char kept) { return given == kept || given == '\0'; };
  if (!std::equal(text.begin(), text.end(), valid.begin(), valid.end(), same))
    refuse(field, "is not valid UTF-8");
  std::u32string all;
  for (const unsigned char byte : text) {
    if ((byte & 0xc0U) == 0x80U)
      all.back() = (all.back() << 6U) | (byte & 0x3fU);
    else
      all += byte < 0x80U ? byte : byte < 0xe0U ? byte & 0x1fU : byte < 0xf0U ? byte & 0x0fU : byte & 0x07U;
  }
  return all;
}

bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029; }

bool is_space(char32_t c) {
  return c == ' ' || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200b) || c == 0x202f || c == 0x205f ||
         c == 0x3000 || c == 0xfeff;
}

void check_local_part(std::string_view local) {
  if (local.empty()) refuse("email", "has nothing before the @");
  if (local.size() > longest_local_part) refuse("email", "has more than 64 bytes before the @");
  // These would need quotes; unquoted they come from a header pasted whole: "Ann <ann@example.org>".
  if (local.find_first_of("()<>[]:;,\\\"") != std::string_view::npos)
    refuse("email", "has a character before the @ that an address cannot have");
}

void check_label(std::string_view label) {
  if (label.empty()) refuse("email", "has an empty part in its domain");
  if (label.size() > longest_label) refuse("email", "has a part of more than 63 bytes in its domain");
  if (label.front() == '-' || label.back() == '-')
    refuse("email", "has a domain part that starts or ends with -");
  if (!std::all_of(label.begin(), label.end(),
                   [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c >= 0x80; }))
    refuse("email", "has a character in its domain that a domain cannot have");
}

void check_domain(std::string_view domain) {
  // A host alone (root@localhost) is nobody's address outside of that host.
  if (domain.find('.') == std::string_view::npos) refuse("email", "has no dot in its domain");
  std::string_view label;
  for (std::size_t begin = 0; begin <= domain.size(); begin += label.size() + 1) {
    label = domain.substr(begin, domain.find('.', begin) - begin);
    check_label(label);
  }
  if (label.find_first_not_of("0123456789") == std::string_view::npos)
    refuse("email", "has a number where its domain should end");
}

void check_email(const std::string& email) {
  if (email.empty()) refuse("email", "is empty");
  if (email.size() > longest_address) refuse("email", "is longer than 254 bytes");
  for (const auto character : characters("email", email))
    if (is_control(character) || is_space(character)) refuse("email", "has a space or control character");
  const auto at = email.find('@');
  if (at == std::string::npos) refuse("email", "has no @");
  if (email.find('@', at + 1) != std::string::npos) refuse("email", "has more than one @");
  check_local_part(std::string_view{email}.substr(0, at));
  check_domain(std::string_view{email}.substr(at + 1));
}

void check_name(const std::string& name) {
  // Before decoding: no character is longer than 4 bytes.
  if (name.size() > 4 * longest_name) refuse("name", "is longer than 255 characters");
  const auto all = characters("name", name);
  if (std::all_of(all.begin(), all.end(), is_space)) refuse("name", "is empty");
  if (all.size() > longest_name) refuse("name", "is longer than 255 characters");
  if (std::any_of(all.begin(), all.end(), is_control)) refuse("name", "has a control character");
}

/// Only the domain is known to be case-insensitive; the part before the @ is kept as typed.
std::string lower_domain(std::string email) {
  for (auto i = email.find('@'); i < email.size(); ++i)
    if (email[i] >= 'A' && email[i] <= 'Z') email[i] = static_cast<char>(email[i] - 'A' + 'a');
  return email;
}

std::string text_member(const nlohmann::json& object, const std::string& name) {
  const auto member = object.find(name);
  if (member == object.end()) refuse(name, "is missing");
  if (!member->is_string()) refuse(name, "must be a string");
  return member->get<std::string>();
}

}  // namespace

Registration parse_registration(std::string_view json) {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(json);
  } catch (const nlohmann::json::parse_error& error) {
    throw InvalidRegistration("not JSON: wrong at byte " + std::to_string(error.byte));
  }
  if (!object.is_object()) throw InvalidRegistration("not a JSON object with email and name");
  return {text_member(object, "email"), text_member(object, "name")};
}

User new_user(const Registration& registration) {
  check_email(registration.email);
  check_name(registration.name);
  return {.id = new_uuid(),
          .email = lower_domain(registration.email),
          .name = registration.name,
          .email_verified = false,
          .created_at = now()};
}

}  // namespace tidings
