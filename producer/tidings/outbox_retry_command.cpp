#include "command_line.hpp"
#include "commands.hpp"
#include "printing.hpp"
#include "progress.hpp"

#include <tidings/database.hpp>
#include <tidings/dead_letter_rows.hpp>
#include <tidings/error.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/stop_signals.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tidings {
namespace {

// A writer of the service waits for no longer than one page takes.
constexpr int rows_a_page = 250;

struct ChoiceFlags {
  std::vector<std::string> ids;
  bool all_dead = false;
  std::string reason;
  bool yes = false;
  bool json = false;

  void require_one_choice() const {
    const bool by_filter = all_dead || !reason.empty();
    if (!ids.empty() && by_filter) throw SettingError("give ids, or --all-dead or --reason, not both");
    if (ids.empty() && !by_filter)
      throw SettingError(
          "give the ids of dead letters (tidings outbox list --status dead_letter), --all-dead or --reason");
  }
};

using Page = std::vector<DeadLetterRow>;

/// The dead letters that the flags choose, in commit order.
class ChosenRows {
 public:
  ChosenRows(Database& database, const ChoiceFlags& flags) : rows_(database), flags_(flags) {
    if (!flags.ids.empty()) find(database);
  }

  [[nodiscard]] std::size_t count() {
    if (!flags_.ids.empty()) return named_.size();
    if (flags_.reason.empty()) return static_cast<std::size_t>(rows_.count());
    std::size_t all = 0;
    each_page([&all](const Page& page) {
      all += page.size();
      return true;
    });
    return all;
  }

  /// Of those that were named by their ids.
  [[nodiscard]] bool all_found() const noexcept { return all_found_; }

  /// Until `visit` returns false.
  void each_page(const std::function<bool(const Page&)>& visit) {
    if (!flags_.ids.empty()) return each_named_page(visit);
    OutboxPosition after;
    for (;;) {
      auto page = rows_.read(after, rows_a_page);
      if (page.empty()) return;
      after = page.back().position;
      std::erase_if(page, [this](const DeadLetterRow& row) {
        return row.last_error.find(flags_.reason) == std::string::npos;
      });
      if (!visit(page)) return;
    }
  }

 private:
  void find(Database& database) {
    const auto outbox = database.outbox();
    for (const auto& id : flags_.ids) {
      const auto row = outbox->find(id);
      if (row && row->event.status == RowStatus::dead_letter) {
        named_.push_back(
            {.position = row->event.position, .id = row->event.id, .last_error = row->last_error});
        continue;
      }
      all_found_ = false;
      std::cerr << "tidings: " << printable(id) << ": "
                << (row ? std::string("is ") + to_string(row->event.status) + ", not a dead letter"
                        : "there is no such event")
                << '\n';
    }
    std::ranges::sort(named_, is_before);
    const auto same = [](const DeadLetterRow& one, const DeadLetterRow& other) {
      return one.position == other.position;
    };
    named_.erase(std::unique(named_.begin(), named_.end(), same), named_.end());
  }

  void each_named_page(const std::function<bool(const Page&)>& visit) const {
    for (auto begin = named_.begin(); begin != named_.end();) {
      const auto end = begin + std::min<std::ptrdiff_t>(rows_a_page, named_.end() - begin);
      if (!visit({begin, end})) return;
      begin = end;
    }
  }

  DeadLetterRows rows_;
  const ChoiceFlags& flags_;
  Page named_;
  bool all_found_ = true;
};

struct Work {
  const char* verb;  ///< what was done: `retried`
  int (DeadLetterRows::*write)(Transaction&, const Page&);
  const char* left;  ///< why a row may not be among them
};

int work_on(Database& database, ChosenRows& chosen, const ChoiceFlags& flags, const Work& work) {
  StopSignals signals;
  DeadLetterRows rows{database};
  const auto all = chosen.count();
  std::size_t done = 0;
  bool stopped = false;
  const auto counts = [&] {
    return std::string(work.verb) + ' ' + std::to_string(done) + " of " + std::to_string(std::max(all, done));
  };
  try {
    Progress progress{work.verb, all};
    chosen.each_page([&](const Page& page) {
      stopped = signals.token().stop_requested();
      if (stopped) return false;
      int written = 0;
      database.transact([&](Transaction& transaction) { written = (rows.*work.write)(transaction, page); });
      done += static_cast<std::size_t>(written);
      progress.advance(page.size());
      return true;
    });
  } catch (const DatabaseError& error) {
    throw DatabaseError(counts() + ", then: " + error.what() + ". Run it again: it goes on with the others");
  }
  if (flags.json)
    print({{work.verb, done}, {"left", std::max(all, done) - done}});
  else
    std::cout << counts() << '\n';
  if (stopped)
    std::cerr << "tidings: stopped; the others are still dead letters, run it again\n";
  else if (done < all)
    std::cerr << "tidings: " << all - done << ' ' << work.left << '\n';
  return chosen.all_found() ? exit_code::done : exit_code::failed;
}

int retry(const ChoiceFlags& flags) {
  flags.require_one_choice();
  const auto database = Database::open(database_url(), Database::Open::operations);
  database->require_schema();
  ChosenRows chosen{*database, flags};
  return work_on(
      *database, chosen, flags,
      {.verb = "retried", .write = &DeadLetterRows::retry, .left = "of them were no dead letters any more"});
}

/// On stderr, and answered on stdin, so that a script may answer as well.
bool confirmed(std::size_t count, const std::string& where) {
  std::cerr << "Delete " << count << (count == 1 ? " dead letter" : " dead letters") << " of " << where
            << " for good? [y/N] " << std::flush;
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

int purge(const ChoiceFlags& flags) {
  flags.require_one_choice();
  const auto database = Database::open(database_url(), Database::Open::operations);
  database->require_schema();
  ChosenRows chosen{*database, flags};
  if (const auto count = chosen.count(); count > 0 && !flags.yes && !confirmed(count, database->name()))
    throw Error("nothing was deleted: answer y, or give --yes");
  return work_on(
      *database, chosen, flags,
      {.verb = "purged",
       .write = &DeadLetterRows::purge,
       .left =
           "of them stay: no dead letters any more, or SQLite's newest row, which goes once there is another"});
}

}  // namespace

void add_outbox_retry_commands(CommandLine& line, CLI::App& outbox) {
  const auto flags = std::make_shared<ChoiceFlags>();
  const auto add = [&](const char* name, const char* description,
                       int (*work)(const ChoiceFlags&)) -> CLI::App& {
    auto& command = line.command(
        name, description, {SettingGroup::database}, [=] { return work(*flags); }, &outbox);
    command.add_flag("--json", flags->json, "print one JSON object a line");
    command.add_option("ID", flags->ids, "ids of dead letters");
    command.add_flag("--all-dead", flags->all_dead, "all dead letters, or all that --reason leaves");
    command.add_option("--reason", flags->reason, "only those whose lastError contains this");
    return command;
  };
  add("retry",
      "Sends dead letters again: they are PENDING with no attempt used, before what still waits of their "
      "aggregates. Safe to interrupt and to repeat.",
      retry);
  add("purge", "Deletes dead letters for good.", purge).add_flag("--yes", flags->yes, "do not ask");
}

}  // namespace tidings
