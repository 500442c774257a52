// Metrics as Prometheus reads them; its own checker is asked where it is installed.

#include "http/prometheus_text.hpp"

#include "support/catch.hpp"
#include "support/process.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

MonitorReport report_with(Metric metric) { return {.name = "consumer g", .metrics = {std::move(metric)}}; }

}  // namespace

TEST_CASE("families of one name are told once, with the samples of all") {
  const auto metric = [](const std::string& group) {
    return Metric{.name = "tidings_x_total",
                  .help = "X.",
                  .type = Metric::Type::counter,
                  .samples = {{{{"group", group}}, 1234567890123}}};
  };
  const auto text = prometheus_text({report_with(metric("a")), report_with(metric("b"))});
  CHECK_THAT(text, ContainsSubstring("# HELP tidings_x_total X.\n# TYPE tidings_x_total counter\n"
                                     "tidings_x_total{group=\"a\"} 1234567890123\n"
                                     "tidings_x_total{group=\"b\"} 1234567890123\n"));
}

TEST_CASE("a label's value may hold anything") {
  const auto text =
      prometheus_text({report_with({.name = "x", .help = "a\nb", .samples = {{{{"l", "\"\\\n"}}, 0.5}}})});
  CHECK_THAT(text, ContainsSubstring("# HELP x a\\nb\n# TYPE x gauge\nx{l=\"\\\"\\\\\\n\"} 0.5\n"));
}

TEST_CASE("a type that is no plain name is no label") {
  CHECK(type_label("user.created") == "user.created");
  for (const auto& type :
       {std::string{}, std::string{"ada@example.org"}, std::string{"a b"}, std::string(101, 'a')})
    CHECK(type_label(type) == "other");
}
