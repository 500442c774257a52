#include "command_line.hpp"
#include "commands.hpp"
#include "dead_letter_stream.hpp"
#include "letter_filters.hpp"
#include "letter_lists.hpp"
#include "printing.hpp"
#include "progress.hpp"
#include "redrive.hpp"

#include <tidings/error.hpp>
#include <tidings/stop_signals.hpp>

#include <cstdint>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace tidings {
namespace {

struct DlqFlags {
  std::string stream = default_dead_letter_stream;
  LetterFilterFlags filter;
  std::string by;
  std::size_t limit = 0;
  std::vector<std::uint64_t> sequences;
  bool all = false;
  bool yes = false;
  bool json = false;
};

struct Dlq {
  explicit Dlq(const DlqFlags& flags) : api("dlq"), letters(api, flags.stream) {}
  JetStreamApi api;
  DeadLetterStream letters;
};

int list(const DlqFlags& flags) {
  Dlq dlq{flags};
  const auto filter = flags.filter.read();
  if (!flags.by.empty()) {
    LetterGroups groups{flags.by};
    dlq.letters.each(filter, [&](const DeadLetter& letter) { groups.add(letter); });
    groups.print(flags.json);
    return exit_code::done;
  }
  LetterList letters{flags.limit, flags.json};
  dlq.letters.each(filter, [&](DeadLetter& letter) { letters.add(letter); });
  letters.print();
  return exit_code::done;
}

int show(const DlqFlags& flags) {
  Dlq dlq{flags};
  const auto sequence = flags.sequences.at(0);
  const auto letter = dlq.letters.find(sequence);
  if (!letter)
    throw Error("no dead letter " + std::to_string(sequence) + " in " + flags.stream +
                ": 'tidings dlq list' shows their sequences");
  print_letter(*letter, flags.json);
  return exit_code::done;
}

/// The letters that the flags name.
template <class Item, class MakeItem>
std::vector<Item> chosen(Dlq& dlq, const DlqFlags& flags, MakeItem&& make) {
  std::vector<Item> items;
  if (flags.sequences.empty()) {
    dlq.letters.each(flags.filter.read(), [&](const DeadLetter& letter) { items.push_back(make(letter)); });
    return items;
  }
  for (const auto sequence : std::set(flags.sequences.begin(), flags.sequences.end())) {
    DeadLetter letter;
    letter.sequence = sequence;
    if (auto found = dlq.letters.find(sequence)) letter = *std::move(found);
    items.push_back(make(letter));
  }
  return items;
}

void require_one_choice(const DlqFlags& flags) {
  if (!flags.sequences.empty() && (flags.all || flags.filter.given()))
    throw SettingError("give sequences, or --all with filters, not both");
  if (flags.sequences.empty() && !flags.all)
    throw SettingError("give the sequences of letters (tidings dlq list), or --all");
}

const char* text_of(RedriveResult::Kind kind) {
  switch (kind) {
    case RedriveResult::Kind::sent:
      return "sent";
    case RedriveResult::Kind::sent_before:
      return "sent_before";
    case RedriveResult::Kind::refused:
      break;
  }
  return "refused";
}

void tell(const RedriveStep& step, const RedriveResult& result, bool json) {
  const bool refused = result.kind == RedriveResult::Kind::refused;
  if (json)
    print({{"sequence", step.sequence},
           {"outcome", text_of(result.kind)},
           {"newSequence", refused ? Json{} : Json(result.new_sequence)},
           {"reason", or_null(result.reason)}});
  else if (refused)
    std::cerr << "tidings: " << step.sequence << ": " << printable(result.reason) << '\n';
}

int redrive(const DlqFlags& flags) {
  require_one_choice(flags);
  StopSignals signals;
  Dlq dlq{flags};
  const auto steps = in_order(chosen<RedriveStep>(dlq, flags, RedriveStep::of));
  Redrive redrive{dlq.api, dlq.letters};
  std::size_t sent = 0, done = 0;
  const auto counts = [&] {
    return "redriven " + std::to_string(sent) + " of " + std::to_string(steps.size());
  };
  try {
    Progress progress{"redriven", steps.size()};
    for (const auto& step : steps) {
      if (signals.token().stop_requested()) break;
      const auto result = redrive.send(step);
      ++done;
      if (result.kind != RedriveResult::Kind::refused) ++sent;
      tell(step, result, flags.json);
      progress.advance();
    }
  } catch (const NatsError& error) {
    throw NatsError(counts() + ", then: " + printable(error.what()) +
                    ". Run it again: what has been sent is not sent twice");
  }
  if (!flags.json) std::cout << counts() << '\n';
  if (done < steps.size()) {
    std::cerr << "tidings: stopped; the others are still there, run it again\n";
    return exit_code::done;
  }
  return sent == steps.size() ? exit_code::done : exit_code::failed;
}

/// On stderr, and answered on stdin, so that a script may answer as well.
bool confirmed(std::size_t count, const std::string& stream) {
  std::cerr << "Delete " << count << (count == 1 ? " dead letter" : " dead letters") << " of " << stream
            << " for good? [y/N] " << std::flush;
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

int purge(const DlqFlags& flags) {
  if (!flags.sequences.empty() && flags.filter.given())
    throw SettingError("give sequences, or filters, not both");
  Dlq dlq{flags};
  auto letters = chosen<DeadLetter>(dlq, flags, [](const DeadLetter& letter) {
    DeadLetter named;  // no more than that is needed
    named.sequence = letter.sequence;
    named.group = letter.group;
    named.original_subject = letter.original_subject;
    return named;
  });
  const auto all = letters.size();
  // The flag may name a stream of events.
  std::erase_if(letters, [](const DeadLetter& letter) { return !letter.written_by_consumer(); });
  const auto others = all - letters.size();
  if (!letters.empty() && !flags.yes && !confirmed(letters.size(), dlq.letters.stream()))
    throw Error("nothing was deleted: answer y, or give --yes");
  StopSignals signals;
  std::size_t deleted = 0;
  {
    Progress progress{"deleted", letters.size()};
    for (const auto& letter : letters) {
      if (signals.token().stop_requested()) break;
      if (dlq.letters.remove(letter.sequence)) ++deleted;
      progress.advance();
    }
  }
  if (signals.token().stop_requested()) std::cerr << "tidings: stopped; the others are still there\n";
  if (flags.json)
    print({{"deleted", deleted}, {"left", all - deleted}});
  else
    std::cout << "deleted " << deleted << '\n';
  if (others > 0)
    std::cerr << "tidings: " << others << " of " << all
              << " are not there, or no dead letters of a consumer\n";
  return others == 0 ? exit_code::done : exit_code::failed;
}

}  // namespace

void add_dlq_commands(CommandLine& line) {
  const auto flags = std::make_shared<DlqFlags>();
  auto& dlq = line.family("dlq", "Shows consumers' dead letters, sends them again or deletes them.");
  const auto add = [&](const char* name, const char* description, int (*work)(const DlqFlags&)) -> CLI::App& {
    const auto run = [=] {
      require_stream_name(flags->stream);
      return work(*flags);
    };
    auto& command = line.command(name, description, {SettingGroup::nats}, run, &dlq);
    command.add_flag("--json", flags->json, "print one JSON object a line");
    command.add_option("--stream", flags->stream,
                       std::string("the dead-letter stream (") + default_dead_letter_stream + ")");
    return command;
  };
  const auto add_sequences = [&flags](CLI::App& command) {
    return command.add_option("SEQ", flags->sequences, "sequences in the dead-letter stream");
  };

  auto& list_command = add("list", "Lists dead letters, the newest last.", list);
  flags->filter.add_to(list_command);
  list_command.add_option("--by", flags->by, "counts those alike: reason, type or group")
      ->check(CLI::IsMember({"reason", "type", "group"}));
  list_command.add_option("--limit", flags->limit, "only the newest ones, so many (all)")
      ->check(CLI::PositiveNumber);

  add_sequences(add("show", "Shows one dead letter with its headers and data.", show))
      ->required()
      ->expected(1);

  auto& redrive_command =
      add("redrive", "Sends events again to the group that failed them, and deletes their dead letters.",
          redrive);
  add_sequences(redrive_command);
  redrive_command.add_flag("--all", flags->all, "all letters, or all that the filters leave");
  flags->filter.add_to(redrive_command);

  auto& purge_command = add("purge", "Deletes dead letters for good: all, or those of filters.", purge);
  add_sequences(purge_command);
  purge_command.add_flag("--yes", flags->yes, "do not ask");
  flags->filter.add_to(purge_command);
}

}  // namespace tidings
