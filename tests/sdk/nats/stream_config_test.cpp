// What a stream stores and discards, also as newer servers have it than the one that tests run with.

#include "nats/stream_config.hpp"

#include "support/catch.hpp"

#include <tidings/error.hpp>

#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

namespace {

json with(json fields) {
  json config{
      {"name", "AUTH_EVENTS"}, {"storage", "file"}, {"subjects", {"auth.events.>"}}, {"num_replicas", 1}};
  config.update(fields);
  return config;
}

std::string fault(const json& config) {
  try {
    compare(config, {.use = StreamSpec::Use::read});
  } catch (const NatsError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("messages are stored under the subjects that transforms, mirrors and sources give them") {
  struct Case {
    json config;
    std::vector<std::string> stored;
  };
  const auto is = GENERATE(values<Case>({
      {json::object(), {"auth.events.>"}},
      {{{"subject_transform", {{"src", "auth.events.>"}, {"dest", "shop.>"}}}}, {"shop.>"}},
      {{{"subject_transform", {{"src", ""}, {"dest", "shop.>"}}}}, {"shop.>"}},
      {{{"subject_transform", {{"src", "auth.events.*.*"}, {"dest", "shop.{{wildcard(2)}}.$1"}}}},
       {"shop.*.*", "auth.events.>"}},
      {{{"subjects", json::array()}, {"mirror", {{"name", "A"}}}}, {">"}},
      {{{"subjects", nullptr}, {"mirror", {{"name", "A"}, {"filter_subject", "a.>"}}}}, {"a.>"}},
      {{{"sources", {{{"name", "A"}, {"subject_transforms", {{{"src", "a.>"}, {"dest", "b.>"}}}}}}}},
       {"auth.events.>", "b.>"}},
  }));
  CHECK(stored_subjects(with(is.config)) == is.stored);
}

TEST_CASE("a stream whose messages miss the prefix is refused by who reads") {
  CHECK(fault(with(json::object())) == "none");
  CHECK_THAT(fault(with({{"subject_transform", {{"src", "auth.events.>"}, {"dest", "shop.>"}}}})),
             ContainsSubstring("AUTH_EVENTS has subjects shop.>, expected auth.events.>"));
  CHECK_THAT(fault(with({{"subjects", nullptr}, {"mirror", {{"name", "A"}, {"filter_subject", "a.>"}}}})),
             ContainsSubstring("AUTH_EVENTS has subjects a.>, expected auth.events.>"));
  CHECK(fault(with({{"subjects", nullptr}, {"mirror", {{"name", "A"}, {"filter_subject", "auth.>"}}}})) ==
        "none");
}
