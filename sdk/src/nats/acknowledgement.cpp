#include "nats/acknowledgement.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

namespace tidings {
namespace {

constexpr std::size_t most_tokens = 16;

template <class Number>
bool read(std::string_view token, Number& number) {
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  return error == std::errc{} && end == token.data() + token.size();
}

std::string words(Acknowledgement acknowledgement) {
  using enum Acknowledgement::Kind;
  switch (acknowledgement.kind) {
    case ack:
      return "+ACK";
    case nak:
      if (acknowledgement.delay.count() <= 0) return "-NAK";
      return "-NAK {\"delay\": " + std::to_string(acknowledgement.delay.count()) + "}";
    case terminate:
      return "+TERM";
    case in_progress:
      break;
  }
  return "+WPI";
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
  AckSubject ack{.stream = tokens[first], .consumer = tokens[first + 1]};
  const bool numbers = read(tokens[first + 2], ack.delivered) &&
                       read(tokens[first + 3], ack.stream_sequence) &&
                       read(tokens[first + 4], ack.consumer_sequence) &&
                       read(tokens[first + 5], ack.stored_at_ns) && read(tokens[first + 6], ack.pending);
  if (!numbers || ack.stream.empty() || ack.consumer.empty()) return std::nullopt;
  return ack;
}

void send(natsConnection* connection, natsMsg* message, Acknowledgement acknowledgement) {
  const auto text = words(acknowledgement);
  natsConnection_Publish(connection, natsMsg_GetReply(message), text.data(), static_cast<int>(text.size()));
}

}  // namespace tidings
