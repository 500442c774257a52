#include "services/pub_ack.hpp"

#include "nats/handle.hpp"
#include "support/catch.hpp"

#include <string>

using namespace tidings;
using namespace tidings::test;
using Kind = PublishResult::Kind;

namespace {

Kind kind_of(const std::string& answer) {
  REQUIRE(nats_Open(-1) == NATS_OK);  // the library frees messages; a connection would have opened it
  natsMsg* raw = nullptr;
  REQUIRE(natsMsg_Create(&raw, "_INBOX.a.1", nullptr, answer.data(), static_cast<int>(answer.size())) ==
          NATS_OK);
  const MessagePtr message{raw};
  return read_pub_ack(raw).kind;
}

Kind kind_of_error(int code, int detail) {
  return kind_of(R"({"error":{"code":)" + std::to_string(code) + R"(,"err_code":)" + std::to_string(detail) +
                 R"(,"description":"why"}})");
}

}  // namespace

TEST_CASE("what a stream answers while it is busy is no refusal of the event") {
  CHECK(kind_of_error(429, 10167) == Kind::transient);  // its ingest queue is full, from 2.11 on
  CHECK(kind_of_error(503, 10008) == Kind::transient);
  CHECK(kind_of_error(409, 10158) == Kind::transient);
  CHECK(kind_of_error(400, 10054) == Kind::refused);  // larger than max_msg_size
  CHECK(kind_of("{}") == Kind::transient);
  CHECK(kind_of(R"({"stream":"AUTH_EVENTS","seq":7})") == Kind::stored);
}
