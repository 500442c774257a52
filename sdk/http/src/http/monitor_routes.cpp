#include "http/monitor_routes.hpp"

#include "http/listener.hpp"
#include "http/prometheus_text.hpp"

#include <nlohmann/json.hpp>
#include <openssl/crypto.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

using Json = nlohmann::ordered_json;

void answer(httplib::Response& response, int status, const Json& body) {
  response.status = status;
  // Causes may quote what others have sent, in any encoding.
  response.set_content(body.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n', "application/json");
}

/// In a time that does not tell how much of it is right.
bool same(std::string_view left, std::string_view right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace

MonitorRoutes::MonitorRoutes(HttpOptions options)
    : options_(std::move(options)), loopback_(Address::parse(options_.listen).is_loopback()) {}

void MonitorRoutes::add_to(httplib::Server& server) const {
  const auto get = [&](const char* path, Answer answer) {
    server.Get(path, [this, answer](const httplib::Request& request, httplib::Response& response) {
      serve(request, response, answer);
    });
  };
  get("/livez", &MonitorRoutes::get_alive);
  get("/readyz", &MonitorRoutes::get_ready);
  get("/metrics", &MonitorRoutes::get_metrics);
  get("/api/status", &MonitorRoutes::get_status);
}

void MonitorRoutes::serve(const httplib::Request& request, httplib::Response& response, Answer answer) const {
  response.set_header("Cache-Control", "no-store");
  response.set_header("X-Content-Type-Options", "nosniff");
  if (admits(request, response)) (this->*answer)(response);
}

bool MonitorRoutes::admits(const httplib::Request& request, httplib::Response& response) const {
  if (closed())
    answer(response, 403, {{"error", "others can reach this address: set TIDINGS_HTTP_TOKEN to be told"}});
  if (options_.token.empty()) return loopback_;
  constexpr std::string_view scheme = "Bearer ";
  const auto given = request.get_header_value("Authorization");
  if (given.starts_with(scheme) && same(std::string_view{given}.substr(scheme.size()), options_.token))
    return true;
  response.set_header("WWW-Authenticate", "Bearer");
  answer(response, 401,
         {{"error", "send the header Authorization: Bearer TOKEN, with TIDINGS_HTTP_TOKEN's value"}});
  return false;
}

std::vector<MonitorReport> MonitorRoutes::reports() const {
  std::vector<MonitorReport> reports;
  reports.reserve(sources_.size());
  for (const auto& source : sources_) reports.push_back(source(options_.limits));
  return reports;
}

void MonitorRoutes::answer_health(httplib::Response& response, std::string MonitorReport::*problem) const {
  Json problems = Json::array();
  for (const auto& report : reports())
    if (!(report.*problem).empty()) problems.push_back({{"name", report.name}, {"reason", report.*problem}});
  const bool ok = problems.empty();
  answer(response, ok ? 200 : 503, {{"ok", ok}, {"problems", problems}});
}

void MonitorRoutes::get_alive(httplib::Response& response) const {
  answer_health(response, &MonitorReport::stalled);
}

void MonitorRoutes::get_ready(httplib::Response& response) const {
  answer_health(response, &MonitorReport::not_ready);
}

void MonitorRoutes::get_metrics(httplib::Response& response) const {
  response.set_content(prometheus_text(reports()), "text/plain; version=0.0.4; charset=utf-8");
}

void MonitorRoutes::get_status(httplib::Response& response) const {
  Json sources = Json::array();
  for (const auto& report : reports()) {
    Json source{
        {"name", report.name}, {"alive", report.stalled.empty()}, {"ready", report.not_ready.empty()}};
    if (!report.stalled.empty()) source["stalled"] = report.stalled;
    if (!report.not_ready.empty()) source["notReady"] = report.not_ready;
    source.update(report.status);
    sources.push_back(std::move(source));
  }
  answer(response, 200, {{"sources", sources}});
}

}  // namespace tidings
