#include "nats/acknowledgement.hpp"

#include <array>
#include <charconv>

namespace tidings {
namespace {

constexpr std::size_t most_tokens = 16;

template <class Number>
bool read(std::string_view token, Number& number) {
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  return error == std::errc{} && end == token.data() + token.size();
}

}  // namespace

std::optional<AckSubject> AckSubject::parse(std::string_view subject) {
  std::array<std::string_view, most_tokens> tokens;
  std::size_t count = 0;
  for (std::size_t begin = 0; begin <= subject.size() && count < most_tokens;) {
    const auto end = std::min(subject.find('.', begin), subject.size());
    tokens[count++] = subject.substr(begin, end - begin);
    begin = end + 1;
  }
  if (count < 9 || count == 10 || tokens[0] != "$JS" || tokens[1] != "ACK") return std::nullopt;
  const std::size_t first = count == 9 ? 2 : 4;  // past $JS.ACK, and past domain and account
  AckSubject ack;
  ack.stream = tokens[first];
  ack.consumer = tokens[first + 1];
  const bool numbers = read(tokens[first + 2], ack.delivered) &&
                       read(tokens[first + 3], ack.stream_sequence) &&
                       read(tokens[first + 4], ack.consumer_sequence) &&
                       read(tokens[first + 5], ack.stored_at_ns) && read(tokens[first + 6], ack.pending);
  if (!numbers || ack.stream.empty() || ack.consumer.empty()) return std::nullopt;
  return ack;
}

}  // namespace tidings
