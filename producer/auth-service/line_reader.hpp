#pragma once

// Lines of a file, pipe or terminal with bounded memory: a reader that can be
// stopped, and that says when the other side pauses.

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>

namespace tidings {

class LineReader {
 public:
  enum class Result {
    line,
    too_long,  ///< the line was passed over
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

  /// The number of the line that next() gave or passed over; the first is 1.
  [[nodiscard]] std::uint64_t line_number() const noexcept { return line_number_; }

 private:
  enum class Filled { bytes, idle, end };
  Filled fill();
  Result give(std::string& line);

  std::string path_;
  std::size_t max_length_;
  int fd_;
  std::string buffer_ = std::string(64 * 1024, '\0');
  std::size_t begin_ = 0, end_ = 0;  // what is read and not yet given
  std::string partial_;              // the start of a line that is not complete
  bool too_long_ = false;
  bool ended_ = false;
  std::uint64_t line_number_ = 0;
};

}  // namespace tidings
