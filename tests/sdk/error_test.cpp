#include "consumer/inbox_guard.hpp"
#include "support/catch.hpp"

#include <tidings/delivery.hpp>
#include <tidings/error.hpp>
#include <tidings/event.hpp>
#include <tidings/postgres_error.hpp>

#include <concepts>

using namespace tidings;

namespace {

template <class... Exceptions>
constexpr bool all_are_errors = (std::derived_from<Exceptions, Error> && ...);

}  // namespace

TEST_CASE("a catch of tidings::Error gets all that Tidings throws") {
  STATIC_REQUIRE(all_are_errors<SettingError, NatsError, DatabaseError, PostgresError, Undecodable, Reject,
                                RetryAfter, Unavailable, InboxUnavailable, HandlerUnavailable>);
  STATIC_REQUIRE(std::derived_from<PostgresError, DatabaseError>);
}
