#pragma once

#include <tidings/error.hpp>

#include <string>

namespace tidings {

/// A transient error of the inbox's database (locked, full, gone): nothing was committed and no attempt used.
/// Try the same messages again.
class InboxUnavailable : public Error {
 public:
  explicit InboxUnavailable(const std::string& what) : Error("inbox: " + what, Retry::yes) {}
};

}  // namespace tidings
