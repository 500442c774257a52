#include "support/virtual_network.hpp"

#include "support/process.hpp"

#include <fcntl.h>
#include <nats/nats.h>
#include <sched.h>
#include <unistd.h>

#include <stdexcept>
#include <system_error>
#include <thread>

namespace tidings::test {
namespace {

FileDescriptor own_namespace() {
  return {::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "open this thread's network namespace"};
}

/// Not valid when it may not be made.
FileDescriptor new_namespace() {
  FileDescriptor made;
  std::jthread{[&made] {
    if (::unshare(CLONE_NEWNET) == 0) made = own_namespace();
  }}.join();
  return made;
}

void enter(const FileDescriptor& network) {
  if (::setns(network.get(), CLONE_NEWNET) != 0)
    throw std::system_error(errno, std::generic_category(), "enter a network namespace");
}

void ip(const FileDescriptor& network, const std::string& commands) {
  const auto done = run("ip", {"-batch", "-"},
                        {.environment = {}, .input = commands, .log_folder = {}, .network = network.get()});
  if (done.exit != exited(0)) throw std::runtime_error("ip: " + done.err + "in:\n" + commands);
}

std::string address(std::size_t number) { return "10.0.0." + std::to_string(number); }
std::string port(std::size_t index) { return "port" + std::to_string(index); }
constexpr std::size_t switch_number = 254;

}  // namespace

bool VirtualNetwork::possible() { return new_namespace().get() >= 0; }

VirtualNetwork::VirtualNetwork(std::size_t hosts) : before_(own_namespace()), switch_(new_namespace()) {
  ip(switch_, "link set lo up\nlink add switch type bridge\nlink set switch up\naddress add " +
                  address(switch_number) + "/24 dev switch\n");
  for (std::size_t i = 0; i < hosts; ++i) {
    hosts_.push_back(new_namespace());
    const auto& host = hosts_.back();
    // Named by our descriptor, the namespace needs no name in the file system.
    ip(switch_, "link add " + port(i) + " type veth peer name eth0 netns /proc/" +
                    std::to_string(::getpid()) + "/fd/" + std::to_string(host.get()) + "\nlink set " +
                    port(i) + " master switch up\n");
    ip(host, "link set lo up\naddress add " + address(i + 1) + "/24 dev eth0\nlink set eth0 up\n");
  }
  enter(switch_);
  // Threads of nats.c that an earlier test has started stand elsewhere, and would connect again from there.
  nats_CloseAndWait(10000);
}

VirtualNetwork::~VirtualNetwork() { ::setns(before_.get(), CLONE_NEWNET); }

Host VirtualNetwork::host(std::size_t index) const { return {address(index + 1), hosts_.at(index).get()}; }
Host VirtualNetwork::switchboard() const { return {address(switch_number), switch_.get()}; }

void VirtualNetwork::cut_off(std::size_t index) { ip(switch_, "link set " + port(index) + " nomaster\n"); }
void VirtualNetwork::join(std::size_t index) { ip(switch_, "link set " + port(index) + " master switch\n"); }

}  // namespace tidings::test
