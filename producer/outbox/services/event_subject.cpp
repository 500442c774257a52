#include "nats/partition.hpp"
#include "nats/subject.hpp"

#include <tidings/error.hpp>
#include <tidings/event.hpp>
#include <tidings/event_publisher.hpp>

#include <algorithm>
#include <cstddef>

namespace tidings {
namespace {

constexpr std::size_t longest_subject = 255;
constexpr std::ptrdiff_t most_subject_tokens = 16;

}  // namespace

std::string PublisherOptions::subject_of(const OutboxEvent& event) const {
  const auto& type = event.event_type;
  if (!is_literal_subject(type)) throw Undecodable("eventType: \"" + type + "\" cannot be part of a subject");
  std::string subject;
  subject.reserve(subject_prefix.size() + Partition::token_size + type.size() + 2);
  subject.append(subject_prefix).append(1, '.');
  if (partitions > 1) {
    Partition::of_aggregate(event.aggregate_id, partitions).append_token_to(subject);
    subject += '.';
  }
  subject += type;
  if (subject.size() > longest_subject || std::ranges::count(subject, '.') >= most_subject_tokens)
    throw Undecodable("eventType: its subject would have more than 255 characters or 16 parts");
  return subject;
}

}  // namespace tidings
