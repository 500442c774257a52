#pragma once

// What someone gives to be registered, and the rules for it.

#include "user.hpp"

#include <tidings/error.hpp>

#include <string>
#include <string_view>

namespace tidings {

struct Registration {
  std::string email, name;
};

/// The registration cannot be accepted, and nothing was written. Says which field and why, without the text
/// that was given, which may be anyone's.
struct InvalidRegistration : Error {
  using Error::Error;
};

struct AlreadyRegistered : InvalidRegistration {
  AlreadyRegistered() : InvalidRegistration("email: is already registered") {}
};

/// Reads `{"email": …, "name": …}`; other members are ignored. Throws InvalidRegistration.
[[nodiscard]] Registration parse_registration(std::string_view json);

/// The user as given, except that the domain is lower-cased; invalid input is refused, not repaired, since a
/// trimmed or cut value is not what its owner typed. Throws InvalidRegistration for an address that is not of
/// the form local@domain.tld or longer than 254 bytes, a name that is blank or longer than 255 characters,
/// control characters, and text that is not UTF-8.
[[nodiscard]] User new_user(const Registration& registration);

}  // namespace tidings
