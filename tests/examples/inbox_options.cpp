#include <tidings/inbox_options.hpp>

const tidings::InboxOptions& options_of_example() {
  static const tidings::InboxOptions options{.table_prefix = "billing_"};
  return options;
}
