#include "consumer/widen_group.hpp"

#include "consumer/event_stream.hpp"
#include "consumer/make_group.hpp"
#include "nats/stream_config.hpp"

#include <spdlog/spdlog.h>

#include <cstdint>
#include <utility>

namespace tidings {
namespace {

using nlohmann::json;

std::uint64_t stream_sequence(const json& info, const char* of) {
  return info.at(of).value("stream_seq", std::uint64_t{0});
}

/// nats-server 2.9.10 takes another filter, and then does not hand out what it lets through.
void make_again(Connection& connection, const ConsumerOptions& options, const json& info, json config) {
  const bool all_acked = info.value("num_ack_pending", 0) == 0;
  begin_at(config, stream_sequence(info, all_acked ? "delivered" : "ack_floor") + 1);
  delete_group(connection, options, "whose filter is too narrow");
  put_group(connection, options, config);
}

}  // namespace

GroupFilters filters_of(const json& config) {
  if (const auto several = config.find("filter_subjects"); several != config.end() && several->is_array())
    return {"filter_subjects", several->get<std::vector<std::string>>()};
  const auto one = config.value("filter_subject", std::string{});
  return {"filter_subject", one.empty() ? std::vector<std::string>{} : std::vector{one}};
}

std::vector<std::string> subjects_for(Connection& connection, const ConsumerOptions& options,
                                      const TypeFilter& filter) {
  return filter.subjects(
      [&](const std::string& subject) { return subjects_held(connection, options.stream, subject); });
}

bool widen_group(Connection& connection, const ConsumerOptions& options, const json& info,
                 const TypeFilter& filter) {
  auto config = info.at("config");
  if (!options.manage_streams || config.value("description", std::string{}) != follows_types) return false;
  const auto has = filters_of(config).subjects;
  const auto sum = filter.with(has);
  if (!sum || filter.content_with(has)) return false;
  const auto wanted = subjects_for(connection, options, *sum);
  if (covers_all(has, wanted)) return false;
  set_filters(config, wanted);
  if (sum->all()) config.erase("description");
  // A time stamp came with 2.10, as did changes of a filter that work at once.
  if (info.contains("ts"))
    put_group(connection, options, config);
  else
    make_again(connection, options, info, std::move(config));
  spdlog::info("widened group={} stream={} filter={} before={}", options.group, options.stream,
               list_of(wanted), list_of(has));
  return true;
}

}  // namespace tidings
