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

constexpr int idle_ms = 100;

Error failure(const std::string& path, const char* action, int error) {
  return Error(std::string("cannot ") + action + ' ' + (path == "-" ? "stdin" : path) + ": " +
               std::generic_category().message(error));
}

}  // namespace

LineReader::LineReader(const std::string& path, std::size_t max_length)
    : path_(path),
      max_length_(max_length),
      fd_(path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) throw failure(path_, "open", errno);
}

LineReader::~LineReader() {
  if (fd_ != STDIN_FILENO) close(fd_);
}

LineReader::Result LineReader::next(std::string& line, const std::stop_token& stop) {
  while (true) {
    if (stop.stop_requested()) return Result::stopped;
    if (begin_ == end_) {
      switch (fill()) {
        case Filled::idle:
          return Result::idle;
        case Filled::end:
          return partial_.empty() && !too_long_ ? Result::end : give(line);
        case Filled::bytes:
          break;
      }
    }
    const auto first = buffer_.begin() + static_cast<std::ptrdiff_t>(begin_);
    const auto last = buffer_.begin() + static_cast<std::ptrdiff_t>(end_);
    const auto newline = std::find(first, last, '\n');
    const auto length = static_cast<std::size_t>(newline - first);
    if (partial_.size() + length > max_length_) {
      too_long_ = true;
      partial_.clear();
    }
    if (!too_long_) partial_.append(first, newline);
    begin_ += length;
    if (newline == last) continue;
    ++begin_;
    return give(line);
  }
}

LineReader::Filled LineReader::fill() {
  if (ended_) return Filled::end;
  // A regular file is always ready; a pipe or a terminal may keep us waiting.
  pollfd ready{fd_, POLLIN, 0};
  const int count = poll(&ready, 1, idle_ms);
  if (count == 0 || (count < 0 && errno == EINTR)) return Filled::idle;
  if (count < 0) throw failure(path_, "read", errno);
  const auto size = read(fd_, buffer_.data(), buffer_.size());
  if (size < 0 && (errno == EINTR || errno == EAGAIN)) return Filled::idle;
  if (size < 0) throw failure(path_, "read", errno);
  begin_ = 0;
  end_ = static_cast<std::size_t>(size);
  ended_ = size == 0;
  return ended_ ? Filled::end : Filled::bytes;
}

LineReader::Result LineReader::give(std::string& line) {
  ++line_number_;
  line.swap(partial_);
  partial_.clear();
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return std::exchange(too_long_, false) ? Result::too_long : Result::line;
}

}  // namespace tidings
