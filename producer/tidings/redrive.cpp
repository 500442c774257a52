#include "redrive.hpp"

#include "event/redrive_headers.hpp"
#include "nats/handle.hpp"
#include "nats/partition.hpp"
#include "nats/subject.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace tidings {
namespace {

constexpr std::size_t longest_subject = 1024;  // a server's max_control_line is 4096, unless it is configured
constexpr int longest_chain = 4;               // of streams that are copies of each other

bool begins_with(std::string_view name, std::string_view lower_case) {
  const auto lower = [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  };
  return std::ranges::equal(name.substr(0, lower_case.size()), lower_case, {}, lower);
}

/// Ours and the server's are of the letter, not of the event.
bool is_of_letter(std::string_view name) {
  return begins_with(name, "tidings-") || begins_with(name, "nats-");
}

bool is_incomplete(const DeadLetter& letter) {
  return std::ranges::any_of(letter.headers, [](const auto& entry) {
    return begins_with(entry.first, "tidings-") && entry.first.find("left-out") != std::string::npos;
  });
}

/// The same for each try, and for a second copy of the letter: the stream takes it once within its window.
std::string message_id(const DeadLetter& letter, const std::string& stream) {
  const auto id = header(letter.headers, "Nats-Msg-Id");
  return "redrive:" + (id.empty() ? stream + ":" + std::to_string(letter.sequence) : std::string{id});
}

/// A consumer's message id of a dead letter ends with the time at which the original was stored.
bool is_original(const StoredEvent& stored, const DeadLetter& letter) {
  const auto id = header(letter.headers, "Nats-Msg-Id");
  const auto time = std::to_string(stored.stored.time_since_epoch().count());
  return stored.subject == letter.original_subject && (id.empty() || id.ends_with(":" + time));
}

MessagePtr message_of(const DeadLetter& letter, const std::string& subject) {
  natsMsg* raw = nullptr;
  check(natsMsg_Create(&raw, subject.c_str(), nullptr, letter.data.data(),
                       static_cast<int>(letter.data.size())),
        "make the message");
  MessagePtr message{raw};
  const auto add = [raw](const char* name, const std::string& value) {
    check(natsMsgHeader_Add(raw, name, value.c_str()), std::string("add the header ") + name);
  };
  for (const auto& [name, value] : letter.headers)
    if (!is_of_letter(name) && !value.empty()) add(name.c_str(), value);
  add(redrive_headers::for_group, letter.group);
  add(redrive_headers::first_sequence, std::to_string(letter.first_sequence));
  if (!letter.event.id.empty()) add(redrive_headers::original_id, letter.event.id);
  return message;
}

/// Whether the consumer belongs to the group: it may have one for each partition.
bool is_of_group(const Json& consumer, const std::string& group) {
  const auto name = consumer.value("config", Json::object()).value("durable_name", std::string{});
  const auto partition = group + "-p";
  return name == group || (name.starts_with(partition) && name.size() > partition.size() &&
                           name.find_first_not_of("0123456789", partition.size()) == std::string::npos);
}

bool hands_out(const Json& consumer, const std::string& subject) {
  const auto filters = filters_of(consumer.value("config", Json::object()));
  return filters.empty() ||
         std::ranges::any_of(filters, [&](const auto& filter) { return covers(filter, subject); });
}

/// Those whose partitions the consumer's filters name.
void add_numbers_of_partitions(const Json& consumer, std::set<int>& numbers) {
  for (const auto& filter : filters_of(consumer.value("config", Json::object())))
    for (std::string_view rest = filter; !rest.empty();)
      if (const auto partition = Partition::parse(take_token(rest));
          partition && partition->of >= 1 && partition->of <= Partition::most)
        numbers.insert(partition->of);
}

/// The subject that a relay with so many partitions gives to the event; empty when the original's is none of
/// a relay's.
std::string subject_in_partitions(const DeadLetter& letter, int number) {
  const auto type = '.' + letter.event.type;
  auto subject = letter.original_subject;
  if (!subject.ends_with(type)) return {};
  subject.resize(subject.size() - type.size());
  if (const auto dot = subject.rfind('.');
      dot != std::string::npos && Partition::parse(std::string_view{subject}.substr(dot + 1)))
    subject.resize(dot);
  if (number > 1) {
    subject += '.';
    Partition::of_aggregate(letter.event.aggregate_id, number).append_token_to(subject);
  }
  return subject + type;
}

}  // namespace

RedriveStep RedriveStep::of(const DeadLetter& letter) {
  const auto& event = letter.event;
  const auto& key = event.partition_key.empty() ? event.aggregate_id : event.partition_key;
  return {.sequence = letter.sequence,
          .stream = letter.original_stream,
          .position = letter.first_sequence,
          .order_key = key.empty() ? std::string{} : letter.group + ' ' + key};
}

std::vector<RedriveStep> in_order(std::vector<RedriveStep> steps) {
  std::ranges::sort(
      steps, {}, [](const RedriveStep& step) { return std::tie(step.stream, step.position, step.sequence); });
  return steps;
}

RedriveResult Redrive::send(const RedriveStep& step) {
  if (const auto before = refused_by_key_.find(step.order_key);
      !step.order_key.empty() && before != refused_by_key_.end())
    return {.reason = "waits for the letter " + std::to_string(before->second) + " of its aggregate"};
  auto letter = letters_.find(step.sequence);
  if (!letter) return {.reason = "is not there any more"};
  auto result = send(*std::move(letter));
  if (result.kind == RedriveResult::Kind::refused) refused_by_key_.emplace(step.order_key, step.sequence);
  return result;
}

RedriveResult Redrive::send(DeadLetter letter) {
  const auto id = message_id(letter, letters_.stream());
  if (auto why_not = objection(letter); !why_not.empty()) return {.reason = std::move(why_not)};
  if (auto why_not = restore(letter); !why_not.empty()) return {.reason = std::move(why_not)};
  const auto subject = address(letter);
  const auto message = message_of(letter, subject);
  jsPubOptions options;
  jsPubOptions_Init(&options);
  options.MsgId = id.c_str();
  jsPubAck* raw = nullptr;
  jsErrCode code{};
  const auto status = js_PublishMsg(&raw, jetstream(api_.connection()), message.get(), &options, &code);
  const PubAckPtr answer{raw};
  if (status == NATS_MAX_PAYLOAD || code == JSStreamMessageExceedsMaximumErr)
    return {.reason = "with the header that names its group it is larger than the server takes"};
  check(status, "send to " + subject, code);
  // A leader that cannot tell yet whether it has the event: see read_pub_ack().
  if (answer->Duplicate && answer->Sequence == 0)
    throw NatsError("the stream " + letter.original_stream + " cannot tell yet whether it has the event",
                    Error::Retry::yes);
  letters_.remove(letter.sequence);
  return {.kind = answer->Duplicate ? RedriveResult::Kind::sent_before : RedriveResult::Kind::sent,
          .new_sequence = answer->Sequence};
}

/// Why the letter cannot be sent; empty when it can. Its headers are somebody's words: they decide neither
/// about other groups than the one that was allowed to write to its subject, nor about other subjects than
/// those of the stream of events.
std::string Redrive::objection(const DeadLetter& letter) {
  const auto& subject = letter.original_subject;
  if (!letter.written_by_consumer()) return "was not written by a consumer of Tidings: it names no group";
  if (!letters_.is_from_its_group(letter))
    return "says that it is of the group " + letter.group + ", and its subject is " + letter.subject;
  if (subject.size() > longest_subject || !is_literal_subject(subject) || subject.starts_with('$'))
    return "has an original subject that no event can have";
  if (!is_stream_name(letter.original_stream)) return "has an original stream that cannot be";
  const auto& to = target(letter.original_stream);
  if (!to.exists) return "came from the stream " + letter.original_stream + ", which does not exist";
  if (std::ranges::none_of(to.subjects, [&](const auto& own) { return covers(own, subject); }))
    return "came from the stream " + letter.original_stream + ", which does not take " + subject;
  if (address(letter).empty())
    return "nobody would get it: the group " + letter.group + " on the stream " + letter.original_stream +
           " does not exist, or its filter leaves out " + subject;
  return {};
}

/// The original's subject, or what it would be with the number of partitions that the group has by now; empty
/// when the group is handed neither.
std::string Redrive::address(const DeadLetter& letter) {
  const auto& to = target(letter.original_stream);
  const auto is_of_its_group = [&](const auto& one) { return is_of_group(one, letter.group); };
  const auto is_handed = [&](const std::string& subject) {
    return std::ranges::any_of(
               to.consumers,
               [&](const auto& one) { return is_of_its_group(one) && hands_out(one, subject); }) &&
           std::ranges::any_of(to.subjects, [&](const auto& own) { return covers(own, subject); });
  };
  if (is_handed(letter.original_subject)) return letter.original_subject;
  std::set<int> numbers{1};
  for (const auto& one : to.consumers)
    if (is_of_its_group(one)) add_numbers_of_partitions(one, numbers);
  for (const auto number : numbers)
    if (auto subject = subject_in_partitions(letter, number); !subject.empty() && is_handed(subject))
      return subject;
  return {};
}

/// Takes what did not fit into the letter from the original. Returns what is in the way of that.
std::string Redrive::restore(DeadLetter& letter) {
  if (!is_incomplete(letter)) return {};
  auto stored = find_message(api_.connection(), letter.original_stream, letter.original_sequence);
  if (!stored || !is_original(*stored, letter))
    return "a part of it was left out, and the stream " + letter.original_stream +
           " has the original no more";
  letter.headers = std::move(stored->headers);
  letter.data = std::move(stored->data);
  return {};
}

const Redrive::Target& Redrive::target(const std::string& stream) {
  if (const auto known = targets_.find(stream); known != targets_.end()) return known->second;
  Target found;
  look_up(stream, longest_chain, found);
  if (found.exists) found.consumers = api_.consumers(stream);
  return targets_.emplace(stream, std::move(found)).first->second;
}

/// What is sent to a stream that is a copy goes to the one that it is a copy of.
void Redrive::look_up(const std::string& stream, int copies_left, Target& target) {
  Json config;
  try {
    config = api_.request("STREAM.INFO." + stream).at("config");
  } catch (const JetStreamRefusal&) {  // for JetStream, it does not exist
    return;
  }
  target.exists = true;
  for (const auto& subject : config.value("subjects", Json::array())) target.subjects.push_back(subject);
  if (copies_left == 0) return;
  auto origins = config.value("sources", Json::array());
  if (config.contains("mirror")) origins.push_back(config.at("mirror"));
  for (const auto& origin : origins)
    if (!origin.contains("external")) look_up(origin.at("name"), copies_left - 1, target);
}

}  // namespace tidings
