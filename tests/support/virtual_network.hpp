#pragma once

// Hosts of their own on a network that can be cut, made of the kernel's network namespaces: what a
// partition does cannot be shown on 127.0.0.1, where everything hears everything.

#include "support/file_descriptor.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace tidings::test {

/// Where a program runs.
struct Host {
  std::string address = "127.0.0.1";
  int network = -1;  ///< descriptor of a network namespace; -1: that of the test
};

/// Some hosts and a switch between them. The thread that makes this stands at the switch until this object
/// is gone, and so do the threads it starts and the programs that it starts in switchboard(). The kernel
/// removes all of it when the last descriptor, thread and program is gone, however that happens; nothing
/// has a name that another test could use. Not thread-safe.
class VirtualNetwork {
 public:
  /// False where this user may not make networks.
  [[nodiscard]] static bool possible();

  explicit VirtualNetwork(std::size_t hosts);
  ~VirtualNetwork();
  VirtualNetwork(const VirtualNetwork&) = delete;
  VirtualNetwork& operator=(const VirtualNetwork&) = delete;

  [[nodiscard]] Host host(std::size_t index) const;
  [[nodiscard]] Host switchboard() const;

  /// Nobody hears the host, and it hears nobody: no connection is ended by that.
  void cut_off(std::size_t index);
  void join(std::size_t index);

 private:
  FileDescriptor before_, switch_;
  std::vector<FileDescriptor> hosts_;
};

}  // namespace tidings::test
