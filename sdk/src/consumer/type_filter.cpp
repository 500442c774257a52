#include "consumer/type_filter.hpp"

#include "nats/partition.hpp"
#include "nats/subject.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using Subjects = TypeFilter::Subjects;

/// Without those that others cover.
Subjects reduced(const Subjects& subjects) {
  Subjects kept;
  for (const auto& subject : subjects)
    if (std::ranges::none_of(
            subjects, [&subject](const auto& other) { return other != subject && covers(other, subject); }))
      kept.push_back(subject);
  return kept;
}

/// nats-server before 2.14 passes over what `a` lets through when `a.b` is a filter as well, and over what a
/// literal token lets through beside a wildcard (seen with 2.10.27).
bool may_stand_together(const Subjects& subjects) {
  return std::ranges::none_of(subjects, [&subjects](const auto& one) {
    return std::ranges::any_of(subjects, [&one](const auto& other) { return other.starts_with(one + '.'); });
  });
}

/// The longest beginning, in tokens, that all of them go on from.
std::string common_beginning(const Subjects& subjects) {
  auto beginning = subjects.front().substr(0, subjects.front().rfind('.'));
  for (const auto& subject : subjects)
    while (!subject.starts_with(beginning + '.')) beginning.resize(beginning.rfind('.'));
  return beginning;
}

/// `order.*` as the pattern of subjects that it stands for.
std::string pattern_of(const std::string& type) {
  return type.ends_with(".*") ? type.substr(0, type.size() - 1) + '>' : type;
}

std::string type_of(const std::string& pattern) {
  return pattern.ends_with(".>") ? pattern.substr(0, pattern.size() - 1) + '*' : pattern;
}

}  // namespace

TypeFilter TypeFilter::of(const Handlers& handlers, const ConsumerOptions& options,
                          const std::optional<EventStream>& stream) {
  TypeFilter all{options.subject_prefix};
  const auto types = handlers.types();
  const bool by_type = options.filter == ConsumerOptions::Filter::by_type &&
                       options.unhandled == ConsumerOptions::Unhandled::ack && types &&
                       !(stream && stream->renames_subjects);
  if (!by_type) return all;
  auto filter = all;
  if (stream) filter.server_ = stream->several_filters ? Server::several_filters : Server::one_filter;
  for (const auto& type : *types) {
    const auto pattern = pattern_of(type);
    // A publisher of such a type has had to find another subject for it.
    if (!is_literal_subject(pattern.substr(0, pattern.find(".>")))) return all;
    filter.patterns_.insert(pattern);
  }
  return filter;
}

std::optional<TypeFilter> TypeFilter::with(const Subjects& filters) const {
  auto sum = *this;
  for (std::string_view filter : filters) {
    if (!filter.starts_with(prefix_ + '.')) return std::nullopt;
    filter.remove_prefix(prefix_.size() + 1);
    if (filter == ">") return TypeFilter{prefix_};
    if (!all()) sum.patterns_.emplace(filter);
  }
  return sum;
}

Subjects TypeFilter::subjects(const Stored& stored) const {
  if (all() || server_ == Server::unknown) return {whole()};
  Subjects subjects;
  for (const auto& pattern : patterns_) {
    if (std::ranges::any_of(stored(prefix_ + ".*." + pattern),
                            [this](const auto& subject) { return is_partitioned(subject); }))
      return {whole()};
    subjects.push_back(prefix_ + '.' + pattern);
  }
  subjects = reduced(subjects);
  if (subjects.size() == 1 || (server_ == Server::several_filters && may_stand_together(subjects)))
    return subjects;
  return {common_beginning(subjects) + ".>"};
}

Subjects TypeFilter::missing_in(const Subjects& filters) const {
  Subjects missing;
  if (filters.empty()) return missing;
  for (const auto& pattern : patterns_)
    if (std::ranges::none_of(filters, [&](const auto& filter) { return hands_out(filter, pattern); }))
      missing.push_back(type_of(pattern));
  return missing;
}

/// In either shape.
bool TypeFilter::hands_out(std::string_view filter, const std::string& pattern) const {
  if (covers(filter, prefix_ + '.' + pattern)) return true;
  if (!filter.starts_with(prefix_ + '.')) return false;
  auto rest = filter.substr(prefix_.size() + 1);
  const auto token = take_token(rest);
  return (token == "*" || Partition::parse(token)) &&
         covers(filter, prefix_ + '.' + std::string{token} + '.' + pattern);
}

bool TypeFilter::is_partitioned(std::string_view subject) const {
  subject.remove_prefix(std::min(prefix_.size() + 1, subject.size()));
  return Partition::parse(take_token(subject)).has_value();
}

bool covers_all(const Subjects& wide, const Subjects& narrow) {
  if (wide.empty() || narrow.empty()) return wide.empty();
  return std::ranges::all_of(narrow, [&wide](const auto& subject) {
    return std::ranges::any_of(wide, [&subject](const auto& one) { return covers(one, subject); });
  });
}

}  // namespace tidings
