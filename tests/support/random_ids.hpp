#pragma once

// Events as a service writes them whose ids are random UUIDs and whose clock counts milliseconds, as with
// Prisma's uuid(): nothing in their rows tells the order of those of one transaction.

#include <cstdint>
#include <random>
#include <string>

namespace tidings::test {

class RandomIds {
 public:
  explicit RandomIds(unsigned seed) : random_(seed) {}

  /// A UUID of version 4.
  std::string next() {
    constexpr const char* digits = "0123456789abcdef";
    std::string text = "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx";
    for (char& letter : text)
      if (letter == 'x') letter = digits[random_() % 16];
    return text;
  }

 private:
  std::mt19937 random_;
};

inline const std::string insert_columns =
    "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, createdAt, "
    "updatedAt) VALUES ";

/// For what stands behind insert_columns: an event that carries its number, padded to so many bytes.
inline std::string values(const std::string& id, const std::string& aggregate, int number,
                          std::size_t padding = 0) {
  const std::string time = "'2026-03-01T10:00:00.123Z'";
  return "('" + id + "', '" + aggregate + "', 'User', 'user.created', '{\"n\": " + std::to_string(number) +
         ", \"padding\": \"" + std::string(padding, 'x') + "\"}', " + time + ", " + time + ", " + time + ")";
}

}  // namespace tidings::test
