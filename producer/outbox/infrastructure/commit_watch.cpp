#include "infrastructure/commit_watch.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace tidings {

std::unique_ptr<CommitWatch> CommitWatch::open(const std::string& url) {
  const auto place = DatabaseUrl::parse(url);
#ifdef TIDINGS_POSTGRES
  if (place.kind == DatabaseUrl::Kind::postgresql) return open_postgres(place.location);
#endif
  return open_file(place.location);
}

CommitWatch::CommitWatch() : wakes_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wakes_ < 0)
    throw Error("cannot watch the outbox: no event descriptor: " + std::generic_category().message(errno),
                Error::Retry::yes);
}

CommitWatch::~CommitWatch() { ::close(wakes_); }

void CommitWatch::sleep(std::chrono::milliseconds timeout) {
  const auto deadline = deadline_after(timeout);
  for (auto now = Clock::now(); !take_wake() && now < deadline; now = Clock::now()) poll(deadline - now, -1);
}

void CommitWatch::wake() noexcept {
  const std::uint64_t one = 1;
  // Fails only when 2^64-2 wakes are waiting already.
  [[maybe_unused]] const auto written = ::write(wakes_, &one, sizeof one);
}

CommitWatch::Clock::time_point CommitWatch::deadline_after(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds none{0}, longest = std::chrono::hours{24};
  return Clock::now() + std::clamp(timeout, none, longest);
}

bool CommitWatch::take_wake() noexcept {
  std::uint64_t count = 0;
  return ::read(wakes_, &count, sizeof count) == sizeof count;
}

void CommitWatch::poll(Clock::duration duration, int descriptor) const {
  std::array<pollfd, 2> descriptors{{{wakes_, POLLIN, 0}, {descriptor, POLLIN, 0}}};
  const auto rest = std::max(duration, Clock::duration{0});
  const auto seconds = std::chrono::floor<std::chrono::seconds>(rest);
  const timespec time{seconds.count(), std::chrono::nanoseconds{rest - seconds}.count()};
  ::ppoll(descriptors.data(), descriptors.size(), &time, nullptr);  // what it says is read by the caller
}

}  // namespace tidings
