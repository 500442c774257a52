#include "support/outbox.hpp"

#include <map>
#include <set>

namespace tidings::test {

std::string ledger(const Outbox& outbox, const std::vector<StoredMessage>& stream) {
  std::map<std::string, std::int64_t> committed;  // id → place in commit order
  std::set<std::string> owed;
  const auto ids = sqlite::column(outbox.path(), "SELECT id FROM outbox_event ORDER BY rowid");
  for (std::size_t i = 0; i < ids.size(); ++i) committed[ids[i]] = static_cast<std::int64_t>(i);
  for (const auto& id :
       sqlite::column(outbox.path(), "SELECT id FROM outbox_event WHERE status = 'PUBLISHED'"))
    owed.insert(id);

  std::string wrong;
  std::set<std::string> seen;
  std::map<std::string, std::int64_t> last;  // aggregate → place of its latest event in the stream
  for (const auto& message : stream) {
    const auto id = message.header("ce-id");
    if (!seen.insert(id).second) {
      wrong += "stored twice: " + id + "\n";
      continue;
    }
    auto [previous, first] = last.try_emplace(message.header("ce-subject"), -1);
    if (committed.at(id) < previous->second)
      wrong +=
          "inverted: " + id + " of " + previous->first + " at sequence " + std::to_string(message.seq) + "\n";
    previous->second = std::max(previous->second, committed.at(id));
    owed.erase(id);
  }
  for (const auto& id : owed) wrong += "marked PUBLISHED and not in the stream: " + id + "\n";
  return wrong;
}

}  // namespace tidings::test
