#include "line_reader.hpp"

#include <tidings/error.hpp>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace tidings {
namespace {

Error failure(const std::string& path, const char* action) {
  return Error(std::string("cannot ") + action + ' ' + (path == "-" ? "stdin" : path) + ": " +
               std::generic_category().message(errno));
}

}  // namespace

LineReader::LineReader(const std::string& path, std::size_t max_length)
    : path_(path),
      max_length_(max_length),
      fd_(path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) throw failure(path_, "open");
}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) close(fd_);
}

LineReader::Result LineReader::next(std::string& line, const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    if (const auto end = buffer_.find('\n', begin_); end != std::string::npos) return give(line, end);
    if (ended_) return begin_ < buffer_.size() || too_long_ ? give(line, buffer_.size()) : Result::end;
    buffer_.erase(0, std::exchange(begin_, 0));
    if (buffer_.size() > max_length_) {
      too_long_ = true;
      buffer_.clear();
    }
    if (!fill()) return Result::idle;
  }
  return Result::stopped;
}

/// False when nothing came.
bool LineReader::fill() {
  constexpr int idle_ms = 100;
  constexpr std::size_t chunk = 65536;
  // A regular file is always ready; a pipe or a terminal may keep us waiting.
  pollfd ready{fd_, POLLIN, 0};
  const int count = poll(&ready, 1, idle_ms);
  if (count == 0 || (count < 0 && errno == EINTR)) return false;
  if (count < 0) throw failure(path_, "read");
  const auto old_size = buffer_.size();
  buffer_.resize(old_size + chunk);
  const auto size = read(fd_, buffer_.data() + old_size, chunk);
  buffer_.resize(old_size + static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return false;
  if (size < 0) throw failure(path_, "read");
  ended_ = size == 0;
  return true;
}

/// The line from begin_ to `end`.
LineReader::Result LineReader::give(std::string& line, std::size_t end) {
  const bool too_long = std::exchange(too_long_, false) || end - begin_ > max_length_;
  line.assign(buffer_, begin_, end - begin_);
  begin_ = std::min(end + 1, buffer_.size());
  if (line.ends_with('\r')) line.pop_back();
  return too_long ? Result::too_long : Result::line;
}

}  // namespace tidings
