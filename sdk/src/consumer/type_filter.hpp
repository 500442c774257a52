#pragma once

// The subjects by which the server filters for a group, so that it is not handed what it has no handler for.
// A type is `prefix.TYPE` on the stream, or with partitions `prefix.p07of16.TYPE`.

#include "consumer/event_stream.hpp"
#include "consumer/handlers.hpp"

#include <tidings/consumer_options.hpp>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

/// Does no I/O.
class TypeFilter {
 public:
  using Subjects = std::vector<std::string>;

  /// Tells which subjects the stream holds that match.
  using Stored = std::function<Subjects(const std::string& subject)>;

  /// All events below the prefix.
  explicit TypeFilter(std::string prefix) : prefix_(std::move(prefix)) {}

  /// What the handlers take; all events where subjects may not tell their types.
  [[nodiscard]] static TypeFilter of(const Handlers& handlers, const ConsumerOptions& options,
                                     const std::optional<EventStream>& stream);

  [[nodiscard]] bool all() const noexcept { return patterns_.empty(); }
  /// Whether filters that a durable has are to stay although nobody knows the stream: no type is missing.
  [[nodiscard]] bool content_with(const Subjects& filters) const {
    return !all() && server_ == Server::unknown && missing_in(filters).empty();
  }

  /// These types and those that a durable with such filters hands out. Empty when other filters are among
  /// them than this class makes.
  [[nodiscard]] std::optional<TypeFilter> with(const Subjects& filters) const;

  /// One for each type where the server takes several filters, else one that lets all of them through. All
  /// events while the stream holds some of these types in partitions, or nobody knows the stream: two filters
  /// for the two shapes of one type would lose events (see type_filter.cpp).
  [[nodiscard]] Subjects subjects(const Stored& stored) const;

  /// Types, or patterns as `order.*`, of which a durable with such filters would not hand out all events.
  /// Filters for partitions are taken for a share of the group's work.
  [[nodiscard]] Subjects missing_in(const Subjects& filters) const;

 private:
  enum class Server { unknown, one_filter, several_filters };

  [[nodiscard]] std::string whole() const { return prefix_ + ".>"; }
  [[nodiscard]] bool hands_out(std::string_view filter, const std::string& pattern) const;
  [[nodiscard]] bool is_partitioned(std::string_view subject) const;

  std::string prefix_;
  Server server_ = Server::unknown;
  std::set<std::string> patterns_;  // below the prefix, as `user.created` and `order.>`; empty: all
};

/// True when every subject that a filter of `narrow` lets through is let through by one of `wide`; a durable
/// without filters lets all through.
[[nodiscard]] bool covers_all(const TypeFilter::Subjects& wide, const TypeFilter::Subjects& narrow);

}  // namespace tidings
