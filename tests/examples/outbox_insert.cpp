#include <tidings/outbox_insert.hpp>

#include <functional>
#include <vector>

/// For a library of the reader's own that runs a statement with texts as parameters.
void add(const tidings::DomainEvent& event,
         const std::function<void(const std::string&, const std::vector<std::string>&)>& run) {
  const auto texts = tidings::outbox_insert::parameters(event);
  run(tidings::outbox_insert::postgresql, {texts.begin(), texts.end()});
  run(tidings::outbox_insert::postgresql_wake, {});
}
