#include "infrastructure/commit_watch.hpp"

#include <spdlog/spdlog.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds between_writes{1};  // reads that writes ask for
// The pauses between reads after a write grow by half, so that a commit is seen within a third of the time
// that its fsync took. An fsync that takes longer than all of them is left to the caller's timeout.
constexpr std::chrono::microseconds first_pause{150};
constexpr std::chrono::seconds last_pause{1};

/// The file itself: SQLite keeps WAL and journal beside what a symbolic link leads to.
std::filesystem::path resolve(const std::string& path) {
  std::error_code error;
  const auto file = std::filesystem::weakly_canonical(path, error);
  return error ? std::filesystem::absolute(path, error) : file;
}

/// Tells when another process, or another connection of this one, has written to the database file: inotify
/// on the file and its WAL. Says nothing of what was written.
class FileCommitWatch final : public CommitWatch {
 public:
  /// Watches the folder of `path`, since WAL and journal come and go. Without inotify (out of
  /// watches), wait() simply lasts for its timeout, unless woken.
  explicit FileCommitWatch(const std::string& path) {
    const auto file = resolve(path);
    file_name_ = file.filename();
    if (!start(file.parent_path())) stop(std::generic_category().message(errno));
  }
  ~FileCommitWatch() override {
    if (inotify_ >= 0) ::close(inotify_);
  }

  /// The database should be read after a write since the last call, at most once a millisecond; and, as a
  /// commit's write is seen before the commit (its fsync comes between), a few more times in the next second.
  bool wait(milliseconds timeout) override;

 private:
  bool start(const std::string& folder);
  void stop(const std::string& reason);
  bool drain_inotify();
  [[nodiscard]] bool is_ours(std::string_view name) const noexcept;
  void read_soon(Clock::time_point now);
  void read_again_later(Clock::time_point now);

  std::string file_name_;
  int inotify_ = -1;
  Clock::time_point read_at_ = Clock::time_point::max();  // when the next read is due without a new event
  Clock::time_point asked_at_{};                          // when a write last asked for a read
  Clock::duration pause_{};                               // between the read that is due and the one after it
};

bool FileCommitWatch::start(const std::string& folder) {
  inotify_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  // A journal is deleted by the commit. The folder's own end is told whatever is asked for (IN_IGNORED).
  constexpr std::uint32_t writes = IN_MODIFY | IN_DELETE | IN_MOVED_TO | IN_ONLYDIR;
  return inotify_ >= 0 && ::inotify_add_watch(inotify_, folder.c_str(), writes) >= 0;
}

void FileCommitWatch::stop(const std::string& reason) {
  if (inotify_ >= 0) ::close(std::exchange(inotify_, -1));
  spdlog::warn("commits of others are seen by polling only file={} reason={}", file_name_, reason);
}

bool FileCommitWatch::wait(milliseconds timeout) {
  const auto deadline = deadline_after(timeout);
  for (;;) {
    const bool written = drain_inotify();
    const bool woken = take_wake();
    const auto now = Clock::now();
    if (written) read_soon(now);
    if (now >= read_at_) {
      read_again_later(now);
      return true;
    }
    if (woken || now >= deadline) return false;
    // Once a read is due soon, further writes add nothing: a long import must not wake us write by write.
    poll(std::min(deadline, read_at_) - now, read_at_ - now > between_writes ? inotify_ : -1);
  }
}

bool FileCommitWatch::drain_inotify() {
  alignas(inotify_event) std::array<char, 16384> buffer;
  constexpr std::size_t longest_event = sizeof(inotify_event) + NAME_MAX + 1;
  bool written = false;
  // A read that leaves room was the last: what comes meanwhile may never end.
  for (std::size_t length = buffer.size(); inotify_ >= 0 && length + longest_event > buffer.size();) {
    const auto got = ::read(inotify_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length = static_cast<std::size_t>(got);
    for (const char* at = buffer.data(); at < buffer.data() + length;) {
      const auto* event = reinterpret_cast<const inotify_event*>(at);
      at += sizeof(inotify_event) + event->len;
      if ((event->mask & IN_Q_OVERFLOW) != 0) written = true;
      if (event->len > 0 && is_ours(event->name)) written = true;
      if ((event->mask & IN_IGNORED) != 0) {
        stop("its folder is gone");
        return true;
      }
    }
  }
  return written;
}

bool FileCommitWatch::is_ours(std::string_view name) const noexcept {
  if (!name.starts_with(file_name_)) return false;
  const auto suffix = name.substr(file_name_.size());
  return suffix.empty() || suffix == "-wal" || suffix == "-journal";
}

void FileCommitWatch::read_soon(Clock::time_point now) {
  const bool rested = now - asked_at_ >= between_writes;
  read_at_ = std::min(read_at_, rested ? now : asked_at_ + between_writes);
  if (!rested) return;
  asked_at_ = now;
  pause_ = first_pause;
}

void FileCommitWatch::read_again_later(Clock::time_point now) {
  read_at_ = pause_ <= last_pause ? now + pause_ : Clock::time_point::max();
  pause_ += pause_ / 2;
}

}  // namespace

std::unique_ptr<CommitWatch> CommitWatch::open_file(const std::string& path) {
  return std::make_unique<FileCommitWatch>(path);
}

}  // namespace tidings
