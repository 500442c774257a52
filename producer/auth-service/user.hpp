#pragma once

#include <tidings/timestamp.hpp>

#include <string>

namespace tidings {

struct User {
  std::string id;
  std::string email;
  std::string name;
  bool email_verified = false;
  Timestamp created_at;
};

}  // namespace tidings
