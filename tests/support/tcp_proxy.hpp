#pragma once

// The network between a client and a server, with the faults that a test asks for.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace tidings::test {

/// Listens on a free port of 127.0.0.1 and forwards to `target_port`. Every verb is thread-safe and
/// has taken effect when it returns.
class TcpProxy {
 public:
  explicit TcpProxy(int target_port);
  ~TcpProxy();

  [[nodiscard]] int port() const noexcept;
  [[nodiscard]] std::string url() const;  ///< `nats://127.0.0.1:PORT`

  void cut();            ///< resets all connections
  void refuse(bool on);  ///< resets each new connection at once
  void cut_after_bytes_to_server(
      std::uint64_t count);                    ///< cut() when that many more have gone upstream, once
  void delay(std::chrono::milliseconds time);  ///< of every byte, in both directions

  /// Drops what the server sends: requests arrive, their answers are lost. Bytes are dropped in mid-line,
  /// so follow it with cut() before letting answers through again.
  void swallow_from_server(bool on);
  void swallow_after_bytes_from_server(std::uint64_t count);  ///< on when that many more have come through

  [[nodiscard]] std::size_t connections() const;  ///< open now
  [[nodiscard]] std::uint64_t accepted() const;   ///< since the start, refused ones not counted
  [[nodiscard]] std::uint64_t cuts() const;       ///< cut() and cut_after_bytes_to_server() that happened
  [[nodiscard]] std::uint64_t bytes_to_server() const;    ///< since the start
  [[nodiscard]] std::uint64_t bytes_from_server() const;  ///< since the start, swallowed ones not counted

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidings::test
