// What the server says about pulls, in the words of nats-server 2.9 to 2.12.

#include "consumer/group.hpp"
#include "consumer/pull_loop.hpp"
#include "support/catch.hpp"

using namespace tidings;
using Kind = PullStatus::Kind;

TEST_CASE("the server's statuses of pulls are told apart") {
  const auto kind = [](const char* code, const char* description) {
    return PullStatus::parse(code, description, "").kind;
  };
  CHECK(kind("100", "Idle Heartbeat") == Kind::heartbeat);
  CHECK(kind("404", "No Messages") == Kind::ended);
  CHECK(kind("408", "Request Timeout") == Kind::ended);
  CHECK(kind("408", "Interest Expired") == Kind::ended);
  CHECK(kind("409", "Batch Completed") == Kind::completed);
  CHECK(kind("409", "Message Size Exceeds MaxBytes") == Kind::too_large);
  CHECK(kind("409", "Leadership Change") == Kind::leadership_change);
  CHECK(kind("409", "Consumer Deleted") == Kind::deleted);
  CHECK(kind("409", "Consumer is push based") == Kind::became_push);
  CHECK(kind("409", "Exceeded MaxRequestBatch of 5") == Kind::refused);
  CHECK(kind("409", "Exceeded MaxRequestExpires of 1s") == Kind::refused);
  CHECK(kind("409", "Exceeded MaxRequestMaxBytes of 1000") == Kind::refused);
  CHECK(kind("409", "Exceeded MaxWaiting") == Kind::other);
  CHECK(kind("409", "Server Shutdown") == Kind::other);
  CHECK(kind("400", "Bad Request") == Kind::refused);
  CHECK(kind("503", "") == Kind::no_responders);
  CHECK(kind("", "") == Kind::other);
}

TEST_CASE("a status says how many messages of its pull did not come, where the server says so") {
  CHECK(PullStatus::parse("408", "Request Timeout", "17").missing == 17);
  CHECK_FALSE(PullStatus::parse("408", "Request Timeout", "").missing);
  CHECK_FALSE(PullStatus::parse("408", "Request Timeout", "many").missing);
}

TEST_CASE("a look at the group tells its state, its deletion, or nothing") {
  const auto present = GroupState::parse(R"({"created":"2026-01-01T00:00:00Z","num_pending":7,"config":{}})");
  CHECK(present.kind == GroupState::Kind::present);
  CHECK(present.created == parse_timestamp("2026-01-01T00:00:00Z"));
  CHECK(present.num_pending == 7);
  const auto kind = [](const char* answer) { return GroupState::parse(answer).kind; };
  CHECK(kind(R"({"error":{"code":404,"err_code":10014}})") == GroupState::Kind::deleted);
  CHECK(kind(R"({"error":{"code":404,"err_code":10059}})") == GroupState::Kind::deleted);
  CHECK(kind(R"({"error":{"code":503,"err_code":10008}})") == GroupState::Kind::unknown);
  CHECK(kind("") == GroupState::Kind::unknown);
  CHECK(kind(R"({"type":"io.nats.jetstream.api.v1.consumer_info_response"})") == GroupState::Kind::unknown);
}
