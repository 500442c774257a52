#include <tidings/log_sink.hpp>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <utility>

namespace tidings {
namespace {

using Sink = std::function<void(LogLevel, std::string_view)>;

LogLevel level_of(spdlog::level::level_enum level) {
  if (level >= spdlog::level::err) return LogLevel::error;
  if (level == spdlog::level::warn) return LogLevel::warning;
  return level == spdlog::level::info ? LogLevel::info : LogLevel::debug;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      break;
  }
  return spdlog::level::err;
}

class FunctionSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FunctionSink(Sink function) : function_(std::move(function)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& line) override {
    function_(level_of(line.level), {line.payload.data(), line.payload.size()});
  }
  void flush_() override {}

  const Sink function_;
};

}  // namespace

void set_log_sink(Sink sink, LogLevel least) {
  static std::mutex mutex;
  static std::shared_ptr<spdlog::logger> former;  // while a sink is set
  const std::lock_guard lock{mutex};
  if (!sink) {
    if (former) spdlog::set_default_logger(std::exchange(former, nullptr));
    return;
  }
  if (!former) former = spdlog::default_logger();
  auto logger = std::make_shared<spdlog::logger>("tidings", std::make_shared<FunctionSink>(std::move(sink)));
  logger->set_level(spdlog_level(least));
  logger->set_error_handler([](const std::string&) {});  // the application's own
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace tidings
