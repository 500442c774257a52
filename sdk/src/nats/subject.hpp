#pragma once

// The rules of NATS subjects: tokens with dots between them; `*` matches one token, and `>` all that remain.

#include <string_view>

namespace tidings {

/// True for a subject that can be published to: no wildcard, no empty token, no space or control character.
[[nodiscard]] bool is_literal_subject(std::string_view subject);

/// True when every subject that `narrow` can match is matched by `wide` (NATS wildcards).
[[nodiscard]] bool covers(std::string_view wide, std::string_view narrow);

}  // namespace tidings
