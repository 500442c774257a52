// How NATS_* settings become the options of a connection.

#include "nats/subject.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace tidings {
namespace {

std::vector<std::string> split_urls(const std::string& list) {
  std::vector<std::string> urls;
  for (std::size_t begin = 0; begin <= list.size();) {
    const auto end = std::min(list.find(',', begin), list.size());
    auto url = list.substr(begin, end - begin);
    url.erase(0, std::min(url.find_first_not_of(' '), url.size()));
    url.erase(url.find_last_not_of(' ') + 1);
    if (!url.empty()) urls.push_back(std::move(url));
    begin = end + 1;
  }
  return urls;
}

}  // namespace

ConnectionOptions ConnectionOptions::from_environment() {
  using settings::text_or;
  ConnectionOptions options;
  if (const auto list = settings::text("NATS_URL")) {
    options.urls = split_urls(*list);
    if (options.urls.empty())
      throw SettingError("NATS_URL=" + *list + ": takes nats://HOST:PORT, several with commas");
  } else {
    options.urls = {"nats://" + text_or("NATS_HOST", "localhost") + ":" +
                    std::to_string(settings::integer_or("NATS_PORT", 4222, 1, 65535))};
  }
  options.credentials_file = text_or("NATS_CREDS", "");
  options.nkey_seed_file = text_or("NATS_NKEY", "");
  options.user = text_or("NATS_USER", "");
  options.password = text_or("NATS_PASSWORD", "");
  options.token = text_or("NATS_TOKEN", "");
  options.inbox_prefix = text_or("NATS_INBOX_PREFIX", "_INBOX");
  if (!is_literal_subject(options.inbox_prefix))
    throw SettingError("NATS_INBOX_PREFIX=" + options.inbox_prefix +
                       ": takes a subject without wildcards, _INBOX_relay for example");
  options.ca_file = text_or("NATS_CA", "");
  options.cert_file = text_or("NATS_CERT", "");
  options.key_file = text_or("NATS_KEY", "");
  if (options.cert_file.empty() != options.key_file.empty())
    throw SettingError("NATS_CERT and NATS_KEY go together: set both or neither");
  return options;
}

}  // namespace tidings
