#include "dead_letter_stream.hpp"
#include "doctor_checks.hpp"
#include "event/redrive_headers.hpp"
#include "nats/partition.hpp"
#include "nats/subject.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

using Outcome = Finding::Outcome;

constexpr int no_message_found = 10037;
constexpr int most_redriven = 1000;  // in a row, that are passed over

/// What groups are handed, against the subjects that a relay with these options publishes to.
class PartitionCheck {
 public:
  PartitionCheck(JetStreamApi& api, const PublisherOptions& publisher)
      : api_(api), publisher_(publisher), whole_(publisher.subject_prefix + ".>") {}

  Finding run() {
    const auto groups = groups_of_stream();
    for (const auto& group : groups)
      if (auto finding = check_filters(group); finding.outcome != Outcome::ok) return finding;
    const auto others = published_otherwise();
    for (const auto& group : groups)
      if (auto finding = check_pending(group, others); finding.outcome != Outcome::ok) return finding;
    return check_newest();
  }

 private:
  struct Group {
    std::string name;
    std::vector<std::string> filters;  // below the prefix
    bool pending = false;
    std::uint64_t settled_to = 0;  // sequence of the stream
  };

  std::vector<Group> groups_of_stream() {
    std::vector<Group> groups;
    for (const auto& consumer : api_.consumers(publisher_.stream)) {
      const auto config = consumer.value("config", Json::object());
      if (!config.contains("durable_name")) continue;  // somebody looks on
      auto filters = filters_of(config);
      if (filters.empty()) filters.push_back(whole_);
      std::erase_if(filters, [this](const auto& filter) { return !overlaps(filter, whole_); });
      if (filters.empty()) continue;
      groups.push_back({.name = config.at("durable_name"),
                        .filters = std::move(filters),
                        .pending = consumer.value("num_pending", std::uint64_t{0}) +
                                       consumer.value("num_ack_pending", std::uint64_t{0}) >
                                   0,
                        .settled_to = settled_to(consumer, config)});
    }
    return groups;
  }

  /// The floor of acks is 0 until the first, wherever the group begins.
  static std::uint64_t settled_to(const Json& consumer, const Json& config) {
    const bool all_acked = consumer.value("num_ack_pending", std::uint64_t{0}) == 0;
    const auto first = std::max(config.value("opt_start_seq", std::uint64_t{0}), std::uint64_t{1});
    return std::max(consumer.at(all_acked ? "delivered" : "ack_floor").value("stream_seq", std::uint64_t{0}),
                    first - 1);
  }

  /// A group whose filter names types, or partitions of another number, would miss events and not know it.
  [[nodiscard]] Finding check_filters(const Group& group) const {
    for (const auto& filter : group.filters)
      if (!meets_events(filter) && !has_in_partitions(group, filter))
        return {Outcome::failed,
                "the group " + group.name + " is handed " + filter +
                    ", which no event has that is published with " + setting(),
                Partition::parse(first_token(filter))
                    ? "give its consumers the same number; when nobody uses " + group.name + ", delete it"
                    : "before the relay starts with this number, start its consumers with "
                      "CONSUMER_FILTER=whole_stream"};
    return {};
  }

  /// Whether the filter lets through some subject of the relay's.
  [[nodiscard]] bool meets_events(const std::string& filter) const {
    if (publisher_.partitions == 1) return !Partition::parse(first_token(filter));
    for (int number = 0; number < publisher_.partitions; ++number)
      if (overlaps(filter, subject_in(number) + ".>")) return true;
    return false;
  }

  /// A durable may have a filter for each of the two shapes.
  [[nodiscard]] bool has_in_partitions(const Group& group, const std::string& filter) const {
    if (publisher_.partitions == 1 || Partition::parse(first_token(filter))) return false;
    const auto type = filter.substr(std::min(publisher_.subject_prefix.size(), filter.size()));
    for (int number = 0; number < publisher_.partitions; ++number)
      if (std::ranges::none_of(group.filters,
                               [&](const auto& one) { return covers(one, subject_in(number) + type); }))
        return false;
    return true;
  }

  [[nodiscard]] std::string subject_in(int number) const {
    auto subject = publisher_.subject_prefix + '.';
    Partition{.number = number, .of = publisher_.partitions}.append_token_to(subject);
    return subject;
  }

  [[nodiscard]] std::string_view first_token(std::string_view subject) const {
    subject.remove_prefix(std::min(publisher_.subject_prefix.size() + 1, subject.size()));
    return take_token(subject);
  }

  /// By how many partitions the subject says that it was published.
  [[nodiscard]] int partitions_of(std::string_view subject) const {
    const auto partition = Partition::parse(first_token(subject));
    return partition ? partition->of : 1;
  }

  /// Patterns of the stream's subjects that are not of the relay's number.
  std::set<std::string> published_otherwise() {
    const auto info = api_.request("STREAM.INFO." + publisher_.stream, {{"subjects_filter", whole_}});
    std::set<std::string> patterns;
    const auto subjects = info.at("state").value("subjects", Json::object());
    for (const auto& [subject, count] : subjects.items()) {
      if (partitions_of(subject) == publisher_.partitions) continue;
      const std::string token{first_token(subject)};
      patterns.insert(Partition::parse(token) ? publisher_.subject_prefix + '.' + token + ".>" : subject);
    }
    return patterns;
  }

  Finding check_pending(const Group& group, const std::set<std::string>& others) {
    if (!group.pending) return {};
    for (const auto& pattern : others) {
      if (std::ranges::none_of(group.filters, [&](const auto& filter) { return overlaps(filter, pattern); }))
        continue;
      const auto subject = first_subject_behind(group.settled_to, pattern);
      if (subject.empty()) continue;
      return {Outcome::failed,
              "the group " + group.name + " still has events pending that were published with " +
                  std::to_string(partitions_of(subject)) + " partitions (" + subject + "), and here is " +
                  setting() + ": order across the change may not be kept",
              "set OUTBOX_PARTITIONS=" + std::to_string(partitions_of(subject)) + "; " +
                  how_to_change_partitions};
    }
    return {};
  }

  /// That of the first event that matches; what was redriven is not in order anyway. Empty when there is
  /// none.
  std::string first_subject_behind(std::uint64_t sequence, const std::string& pattern) {
    for (int left = most_redriven; left > 0; --left) {
      const auto found = find({{"seq", sequence + 1}, {"next_by_subj", pattern}});
      if (!found) return {};
      if (!is_redriven(found->sequence)) return found->subject;
      sequence = found->sequence;
    }
    return {};
  }

  Finding check_newest() {
    const auto newest = find({{"last_by_subj", whole_}});
    if (!newest || is_redriven(newest->sequence) || partitions_of(newest->subject) == publisher_.partitions)
      return {Outcome::ok, setting() + ", as subjects and groups have it"};
    const auto before = std::to_string(partitions_of(newest->subject));
    return {Outcome::warning,
            "here is " + setting() + ", and the stream's newest event was published with " + before + " (" +
                newest->subject + "); no group has anything pending from then",
            "set OUTBOX_PARTITIONS=" + before + " unless you are changing it; " + how_to_change_partitions};
  }

  struct Found {
    std::uint64_t sequence = 0;
    std::string subject;
  };
  std::optional<Found> find(const Json& request) {
    try {
      const auto message = api_.request("STREAM.MSG.GET." + publisher_.stream, request).at("message");
      return Found{.sequence = message.at("seq"), .subject = message.at("subject")};
    } catch (const JetStreamRefusal& refusal) {
      if (refusal.code() != no_message_found) throw;
      return std::nullopt;
    }
  }

  bool is_redriven(std::uint64_t sequence) {
    const auto stored = find_message(api_.connection(), publisher_.stream, sequence);
    return stored && !header(stored->headers, redrive_headers::for_group).empty();
  }

  [[nodiscard]] std::string setting() const {
    return "OUTBOX_PARTITIONS=" + std::to_string(publisher_.partitions);
  }

  JetStreamApi& api_;
  const PublisherOptions& publisher_;
  const std::string whole_;
};

}  // namespace

Finding check_partitions(JetStreamApi& api, const PublisherOptions& publisher) {
  try {
    return PartitionCheck{api, publisher}.run();
  } catch (const JetStreamRefusal&) {
    throw;
  } catch (const NatsError&) {
    const auto refusal = api.connection().refusal(
        [&](std::string_view text) { return text.find('.' + publisher.stream) != std::string_view::npos; });
    if (refusal.empty()) throw;
    return {Outcome::skipped, "this login may not look at groups and events: " + refusal};
  }
}

}  // namespace tidings
