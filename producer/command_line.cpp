#include "command_line.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <exception>
#include <iostream>
#include <utility>

namespace tidings {
namespace {

struct SettingFlag {
  SettingGroup group;
  const char* setting;
  const char* flag;
  const char* help;
};

// The one list of settings that have a flag. Limits are checked where a setting is read.
constexpr auto setting_flags = std::to_array<SettingFlag>({
    {SettingGroup::database, "DATABASE_URL", "--database-url",
     "the service's database: sqlite:PATH, file:PATH or postgresql://HOST/DATABASE (sqlite:auth.db)"},

    {SettingGroup::nats, "NATS_URL", "--nats-url", "servers, separated by commas; wins over host and port"},
    {SettingGroup::nats, "NATS_HOST", "--nats-host", "server's host (localhost)"},
    {SettingGroup::nats, "NATS_PORT", "--nats-port", "server's port (4222)"},
    {SettingGroup::nats, "NATS_CREDS", "--nats-creds", "file with JWT and seed"},
    {SettingGroup::nats, "NATS_NKEY", "--nats-nkey", "file with an nkey seed"},
    {SettingGroup::nats, "NATS_USER", "--nats-user", "user name"},
    {SettingGroup::nats, "NATS_PASSWORD", "--nats-password",
     "password; other users can see flags, so prefer the variable"},
    {SettingGroup::nats, "NATS_TOKEN", "--nats-token",
     "token; other users can see flags, so prefer the variable"},
    {SettingGroup::nats, "NATS_INBOX_PREFIX", "--nats-inbox-prefix",
     "answers come to subjects below it; for users that may subscribe only to their own (_INBOX)"},
    {SettingGroup::nats, "NATS_JS_DOMAIN", "--nats-js-domain,--js-domain",
     "JetStream domain, where leaf nodes lead to the server that has the streams"},
    {SettingGroup::nats, "NATS_JS_API_PREFIX", "--nats-js-api-prefix,--js-api-prefix",
     "prefix under which another account's JetStream API is imported; excludes a domain"},
    {SettingGroup::nats, "NATS_CA", "--nats-ca", "file of the CA to trust; turns TLS on"},
    {SettingGroup::nats, "NATS_CERT", "--nats-cert", "file of the client's certificate"},
    {SettingGroup::nats, "NATS_KEY", "--nats-key", "file of the client's key"},

    {SettingGroup::outbox, "OUTBOX_STREAM", "--outbox-stream", "stream that takes the events (AUTH_EVENTS)"},
    {SettingGroup::outbox, "OUTBOX_SUBJECT_PREFIX", "--outbox-subject-prefix",
     "what precedes the event's type in the subject (auth.events)"},
    {SettingGroup::outbox, "OUTBOX_SOURCE", "--outbox-source",
     "the service's name, in events whose metadata names no source (auth-service)"},
    {SettingGroup::outbox, "OUTBOX_PARTITIONS", "--outbox-partitions",
     "parts that groups share the stream out by, told in subjects; change it as docs/partitions.md says (1)"},
    {SettingGroup::outbox, "OUTBOX_STREAM_REPLICAS", "--outbox-stream-replicas",
     "servers that keep a copy of the stream, when it is made; one with fewer is an error (1)"},
    {SettingGroup::outbox, "OUTBOX_PROCESSING_INTERVAL_MS", "--outbox-processing-interval-ms",
     "look at least this often, woken or not (5000)"},
    {SettingGroup::outbox, "OUTBOX_PROCESSING_TIMEOUT_MS", "--outbox-processing-timeout-ms",
     "another program's PROCESSING row is left behind when its updatedAt is older (60000)"},
    {SettingGroup::outbox, "OUTBOX_BATCH_SIZE", "--outbox-batch-size", "events in flight at most (2048)"},
    {SettingGroup::outbox, "OUTBOX_MAX_RETRIES", "--outbox-max-retries",
     "failed attempts until an event is a dead letter (5)"},
    {SettingGroup::outbox, "OUTBOX_BACKOFF_BASE_MS", "--outbox-backoff-base-ms",
     "delay after the first failure (1000)"},
    {SettingGroup::outbox, "OUTBOX_BACKOFF_MAX_MS", "--outbox-backoff-max-ms", "no delay is longer (300000)"},
    {SettingGroup::outbox, "OUTBOX_LEASE_MS", "--outbox-lease-ms",
     "another processor may take over after this long (10000)"},
    {SettingGroup::outbox, "OUTBOX_RETENTION_DAYS", "--outbox-retention-days",
     "published rows are kept this long; 0 deletes at once (7)"},
    {SettingGroup::outbox, "OUTBOX_CLEANUP_INTERVAL_MS", "--outbox-cleanup-interval-ms",
     "time between cleanups (3600000)"},
});

// In the order of SettingGroup.
constexpr auto group_titles = std::to_array<const char*>({"Database", "NATS", "Outbox"});

/// A flag that writes its setting into the environment.
void add_setting(CLI::App& command, const char* setting, const char* flag, const std::string& help,
                 const char* group) {
  const auto put = [setting](const std::string& value) { setenv(setting, value.c_str(), 1); };
  command.add_option_function<std::string>(flag, put, help + " [" + setting + "]")
      ->type_name("")
      ->group(group);
}

void add_standard_flags(CLI::App& command) {
  command.set_help_flag("-h,--help", "print this and exit");
  command.set_version_flag("--version", "tidings " TIDINGS_VERSION, "print the version and exit");
}

/// A flag must win over what excludes it, or wins over it, and is in the environment only.
void settle_server_flags(const CLI::App& command) {
  const auto given = [&](const char* flag) {
    const auto* option = command.get_option_no_throw(flag);
    return option != nullptr && option->count() > 0;
  };
  if ((given("--nats-host") || given("--nats-port")) && !given("--nats-url")) unsetenv("NATS_URL");
  const bool domain = given("--nats-js-domain"), prefix = given("--nats-js-api-prefix");
  if (domain && !prefix) unsetenv("NATS_JS_API_PREFIX");
  if (prefix && !domain) unsetenv("NATS_JS_DOMAIN");
}

void start_log() {
  const auto name = settings::text_or("TIDINGS_LOG", "info");
  const auto level = spdlog::level::from_str(name);
  if (level == spdlog::level::off && name != "off")  // what the library makes of an unknown name
    throw SettingError("TIDINGS_LOG=" + name + ": takes trace, debug, info, warn, error or off");
  // Stdout belongs to what the command prints.
  spdlog::set_default_logger(spdlog::stderr_color_mt("tidings"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
  spdlog::set_level(level);
}

/// The command that was being parsed, as typed: `tidings outbox list`.
std::string spoken_name(const CLI::App& app) {
  std::string name = app.get_name();
  for (const auto* command = &app; !command->get_subcommands().empty();) {
    command = command->get_subcommands().front();
    name += ' ' + command->get_name();
  }
  return name;
}

}  // namespace

CommandLine::CommandLine(const std::string& program, const std::string& description)
    : app_(description, program) {
  add_standard_flags(app_);
  app_.require_subcommand(1);
}

CLI::App& CommandLine::family(const std::string& name, const std::string& description) {
  auto& family = *app_.add_subcommand(name, description);
  add_standard_flags(family);
  family.require_subcommand(1);
  return family;
}

CLI::App& CommandLine::command(const std::string& name, const std::string& description,
                               std::initializer_list<SettingGroup> settings, Work work, CLI::App* parent) {
  auto& command = *(parent == nullptr ? app_ : *parent).add_subcommand(name, description);
  add_standard_flags(command);
  for (const auto group : settings)
    for (const auto& entry : setting_flags)
      if (entry.group == group)
        add_setting(command, entry.setting, entry.flag, entry.help,
                    group_titles[static_cast<std::size_t>(group)]);
  add_setting(command, "TIDINGS_LOG", "--log-level", "trace, debug, info, warn, error or off (info)", "Log");
  command.final_callback([this, &command, work = std::move(work)] {
    settle_server_flags(command);
    chosen_ = work;
  });
  return command;
}

int CommandLine::run(int argc, const char* const* argv) {
  try {
    app_.parse(argc, argv);
    start_log();
    const int code = chosen_();
    if (!std::cout.flush()) throw Error("cannot write to stdout: is the disk full or the reader gone?");
    return code;
  } catch (const CLI::RequiredError& error) {
    // A misspelt command is what is left over; the library would speak of a missing one.
    const auto left = app_.remaining(true);
    const auto what = left.empty() ? std::string(error.what()) : "'" + left.front() + "' is not known here";
    return complain(what + "; see '" + spoken_name(app_) + " --help'", exit_code::usage);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app_.exit(error);  // --help, --version
    return complain(std::string(error.what()) + "; see '" + spoken_name(app_) + " --help'", exit_code::usage);
  } catch (const SettingError& error) {
    return complain(error.what(), exit_code::usage);
  } catch (const std::exception& error) {
    return complain(error.what(), exit_code::failed);
  }
}

int CommandLine::complain(std::string line, int code) const {
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::cout.flush();
  std::cerr << app_.get_name() << ": " << line << std::endl;
  return code;
}

std::string database_url() { return settings::text_or("DATABASE_URL", "sqlite:auth.db"); }

}  // namespace tidings
