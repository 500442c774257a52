#pragma once

// Lines of a file, pipe or terminal with bounded memory. Unlike std::getline, it can be stopped while it
// waits, and says when the other side pauses.

#include <cstddef>
#include <stop_token>
#include <string>

namespace tidings {

class LineReader {
 public:
  enum class Result {
    line,
    too_long,  ///< the line was skipped
    idle,      ///< nothing came for 100 ms
    stopped,
    end,
  };

  /// `-` is stdin. Throws Error naming the file.
  LineReader(const std::string& path, std::size_t max_length);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  /// The next line without its end (`\n` or `\r\n`); the last one may lack it.
  Result next(std::string& line, const std::stop_token& stop);

 private:
  bool fill();
  Result give(std::string& line, std::size_t end);

  std::string path_;
  std::size_t max_length_;
  int fd_;
  std::string buffer_;     // what was read and not given yet, from begin_ on
  std::size_t begin_ = 0;  // of the next line
  bool too_long_ = false;  // the next line's beginning was dropped
  bool ended_ = false;     // there is nothing more to read
};

}  // namespace tidings
