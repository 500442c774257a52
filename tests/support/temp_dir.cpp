#include "support/temp_dir.hpp"

#include <stdlib.h>

#include <cerrno>
#include <iostream>
#include <string>
#include <system_error>

namespace tidings::test {

TempDir::TempDir(const std::filesystem::path& parent) {
  std::string name = (parent / "tidings-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), "make " + name);
  path_ = name;
}

TempDir::~TempDir() {
  if (std::getenv("TIDINGS_KEEP") != nullptr) {
    std::cerr << "kept " << path_.string() << '\n';
    return;
  }
  std::error_code ignored;  // a file that a dying server still writes must not fail the test
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace tidings::test
