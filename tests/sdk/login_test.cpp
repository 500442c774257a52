// Logins that need files: TLS, client certificates, and credentials of a server with operators.

#include "support/catch.hpp"
#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

/// Certificates made with the openssl program, in a folder of their own.
class Certificates {
 public:
  /// A CA that signs itself: NAME.pem and NAME.key.
  void make_ca(const std::string& name) {
    openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=" + name, "-keyout", file(name + ".key"), "-out", file(name + ".pem")});
  }
  /// Signed by `ca`, good for `subject`: a server's at that address, or a client's.
  void make(const std::string& name, const std::string& ca, const std::string& subject = "IP:127.0.0.1") {
    std::ofstream{file(name + ".ext")} << "subjectAltName=" << subject
                                       << "\nextendedKeyUsage=serverAuth,clientAuth\n";
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
             "-keyout", file(name + ".key"), "-out", file(name + ".csr")});
    openssl({"x509", "-req", "-in", file(name + ".csr"), "-CA", file(ca + ".pem"), "-CAkey",
             file(ca + ".key"), "-set_serial", std::to_string(++serial_), "-days", "2", "-extfile",
             file(name + ".ext"), "-out", file(name + ".pem")});
  }
  [[nodiscard]] std::string file(const std::string& name) const { return (folder_ / name).string(); }

 private:
  static void openssl(const std::vector<std::string>& arguments) {
    const auto done = run("openssl", arguments);
    if (done.exit != exited(0)) throw std::runtime_error("openssl " + arguments.front() + ": " + done.err);
  }

  TempDir folder_;
  int serial_ = 0;
};

/// A server with a certificate of `ca`; with `verify`, clients need one of it too.
struct TlsServer {
  explicit TlsServer(bool verify = false, const std::string& subject = "IP:127.0.0.1") {
    certificates.make_ca("ca");
    certificates.make_ca("other-ca");
    certificates.make("server", "ca", subject);
    certificates.make("client", "ca");
    certificates.make("stranger", "other-ca");
    server.emplace(NatsServerOptions{.config = "tls { cert_file: \"" + certificates.file("server.pem") +
                                               "\", key_file: \"" + certificates.file("server.key") +
                                               "\", ca_file: \"" + certificates.file("ca.pem") +
                                               "\", verify: " + (verify ? "true" : "false") + " }",
                                     .arguments = {},
                                     .jetstream = false,
                                     .monitoring = false});
  }

  [[nodiscard]] ConnectionOptions options() const {
    ConnectionOptions options;
    options.urls = {server->url()};
    options.ca_file = certificates.file("ca.pem");
    return options;
  }
  [[nodiscard]] ConnectionOptions options_of(const std::string& client) const {
    auto with = options();
    with.cert_file = certificates.file(client + ".pem");
    with.key_file = certificates.file(client + ".key");
    return with;
  }

  Certificates certificates;
  std::optional<NatsServer> server;
};

/// What connecting says, where waiting would not help, and soon. A single try says the same, and that it
/// may pass only where one try cannot tell.
std::string refusal(const ConnectionOptions& options, bool one_try_tells = true) {
  const auto begun = steady_clock::now();
  std::stop_source stop;
  std::jthread limit{[&stop](const std::stop_token& done) {
    (void)eventually(10s, [&done] { return done.stop_requested(); });
    stop.request_stop();
  }};
  const auto told = error_of<NatsError>([&] { Connection connection{options, stop.get_token()}; });
  CHECK(steady_clock::now() - begun < 5s);
  try {
    Connection connection{options};
    FAIL("connected");
  } catch (const NatsError& error) {
    CHECK(error.retryable() == !one_try_tells);
    CHECK(std::string{error.what()} == told);
  }
  return told;
}

/// What a file holds, but its first and last line.
std::string body_of(const std::string& file) {
  std::ifstream from{file};
  std::string text{std::istreambuf_iterator<char>{from}, {}};
  return text.substr(text.find('\n') + 1, 40);
}

// Made once with keys that were then thrown away, but for the user's: nobody needs to keep it secret, it
// opens these tests' servers alone. None of the tokens expires.
const std::string operator_jwt =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJFVlA1QVJKUU1XVFFWWjdLNVQzRU5PQ"
    "VpIR09PRDRYUUM2TDI2N0dXMk1PN1pOQVlXTUZRIiwiaWF0IjoxNzAwMDAwMDAwLCJpc3MiOiJPRFpKSUdZWlc0S"
    "jVSNUxaWjRERVNGVEpVVTdOS1Q2RUxNRFdHTDdWREVNVjRUVkxUNkhEU0FNNyIsIm5hbWUiOiJvcCIsInN1YiI6I"
    "k9EWkpJR1laVzRKNVI1TFpaNERFU0ZUSlVVN05LVDZFTE1EV0dMN1ZERU1WNFRWTFQ2SERTQU03IiwibmF0cyI6e"
    "yJ0eXBlIjoib3BlcmF0b3IiLCJ2ZXJzaW9uIjoyfX0.cbJwPUar2sr9Q1oJYP6VAkjAbLL1H6QWm5XTORLIDVt9F"
    "n--3ajLdowSeVZIyIVtFCyhITXt-e-Ow-c1skIHCA";
const std::string account_key = "AB5IL7GM54X2YU2QBX5OHHLU73K2OTISVGFMW3FRK6UMJGZ2FZBYYCJH";
const std::string account_jwt =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJIWjRIQk1SWDJUS0FPSzZMQVlMNTJZR"
    "kpJR1lOSkFTNFpCWjJMQU1WMkQzWEJFUzdRVENRIiwiaWF0IjoxNzAwMDAwMDAwLCJpc3MiOiJPRFpKSUdZWlc0S"
    "jVSNUxaWjRERVNGVEpVVTdOS1Q2RUxNRFdHTDdWREVNVjRUVkxUNkhEU0FNNyIsIm5hbWUiOiJhY2MiLCJzdWIiO"
    "iJBQjVJTDdHTTU0WDJZVTJRQlg1T0hITFU3M0syT1RJU1ZHRk1XM0ZSSzZVTUpHWjJGWkJZWUNKSCIsIm5hdHMiO"
    "nsibGltaXRzIjp7InN1YnMiOi0xLCJkYXRhIjotMSwicGF5bG9hZCI6LTEsImltcG9ydHMiOi0xLCJleHBvcnRzI"
    "jotMSwid2lsZGNhcmRzIjp0cnVlLCJjb25uIjotMSwibGVhZiI6LTF9LCJ0eXBlIjoiYWNjb3VudCIsInZlcnNpb"
    "24iOjJ9fQ.Wc9fQmODC75oUpIiQB3ej3mJtJvRmx19UH9NgyySgN6upNuTtfb5muIN-A9K5A65UtYxwyfmdIST0L"
    "rynM70Bw";
const std::string user_jwt =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJGVzVPRjZPUjRZR09DUUxOTFEzUTJOR"
    "DVOV1gyVjI0V0dGVlpXSkZRNVRTMlRETlY3WjRRIiwiaWF0IjoxNzAwMDAwMDAwLCJpc3MiOiJBQjVJTDdHTTU0W"
    "DJZVTJRQlg1T0hITFU3M0syT1RJU1ZHRk1XM0ZSSzZVTUpHWjJGWkJZWUNKSCIsIm5hbWUiOiJ1c2VyIiwic3ViI"
    "joiVUNGVU4yUzVMSVUyV0lGR1dKNE1OUVhVU1VSRjdENldGS1MzRTVaSk9ZWUtZQ1dRUUQ2U1ZWVUgiLCJuYXRzI"
    "jp7InB1YiI6e30sInN1YiI6e30sInN1YnMiOi0xLCJkYXRhIjotMSwicGF5bG9hZCI6LTEsInR5cGUiOiJ1c2VyI"
    "iwidmVyc2lvbiI6Mn19.Ki_HNGLrIzNg-UccAyR4GaVckrXHMN_zsAoXgkPEFJujn7-JQ72cthELjf-lLesPh8YE"
    "LToyrUu5xw96TWnBAg";
// Of the same user, signed by an account that the server does not know.
const std::string stranger_jwt =
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJqdGkiOiJaWlo1M0ZKRERXVU5BU0pDUkdEREJGW"
    "EIyWERWMkFKU1RFM1BaWlYzQ1dCREwyWkZDVjVRIiwiaWF0IjoxNzAwMDAwMDAwLCJpc3MiOiJBRFI0VjJXSkVKN"
    "081M0pBNTdIVkxOUFJDT1kySUlQV0g2Wk9CNEdTRlZVNUZKSUM3WlA2RUZBVyIsIm5hbWUiOiJ1c2VyIiwic3ViI"
    "joiVUNGVU4yUzVMSVUyV0lGR1dKNE1OUVhVU1VSRjdENldGS1MzRTVaSk9ZWUtZQ1dRUUQ2U1ZWVUgiLCJuYXRzI"
    "jp7InB1YiI6e30sInN1YiI6e30sInN1YnMiOi0xLCJkYXRhIjotMSwicGF5bG9hZCI6LTEsInR5cGUiOiJ1c2VyI"
    "iwidmVyc2lvbiI6Mn19.Cq04y24WU0DOMDe4P2uCJ4n0KSrE7zay4DLbV4zQ0gu5jpW_80ZRv13nBpQbaKOTcjhV"
    "K-Ij0z0YORetfQYWAg";
const std::string user_seed = "SUAEH52G5426EXWIGEXWL376XDWNPFUS63HRH3YWWNEDMOTA7EI4UZJZBI";

/// One that knows its users by what their account has signed.
NatsServer server_with_operator() {
  return NatsServer{{.config = "operator: " + operator_jwt + "\nresolver: MEMORY\nresolver_preload: { " +
                               account_key + ": " + account_jwt + " }",
                     .arguments = {},
                     .jetstream = false,
                     .monitoring = false}};
}

std::string credentials(const std::string& jwt) {
  return "-----BEGIN NATS USER JWT-----\n" + jwt +
         "\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n" + user_seed +
         "\n------END USER NKEY SEED------\n";
}

}  // namespace

TEST_CASE("TLS with the CA of the server's certificate connects") {
  TlsServer tls;
  Connection connection{tls.options(), std::stop_token{}};
  CHECK(connection.connected());
  CHECK(connection.flush(5s));
}

TEST_CASE("a certificate of a CA that is not trusted is told at once, with the CA file") {
  TlsServer tls;
  auto options = tls.options();
  options.ca_file = tls.certificates.file("other-ca.pem");
  const auto told = refusal(options);
  CAPTURE(told);
  CHECK_THAT(told, ContainsSubstring("other-ca.pem"));
  CHECK_THAT(told, ContainsSubstring("127.0.0.1:" + std::to_string(tls.server->port())));
}

TEST_CASE("TLS without a CA file trusts those of the system, and says so of another") {
  TlsServer tls;
  auto options = tls.options();
  options.ca_file.clear();
  options.urls = {"tls://127.0.0.1:" + std::to_string(tls.server->port())};
  const auto told = refusal(options);
  CAPTURE(told);
  CHECK_THAT(told, ContainsSubstring("NATS_CA"));
}

TEST_CASE("a server that needs a client certificate takes one of its CA") {
  TlsServer tls{true};
  Connection connection{tls.options_of("client"), std::stop_token{}};
  CHECK(connection.connected());
  CHECK(connection.flush(5s));
}

TEST_CASE("a client certificate that is missing or of another CA is refused, with what was tried") {
  TlsServer tls{true};
  const auto without = refusal(tls.options(), false);
  CAPTURE(without);
  CHECK_THAT(without, ContainsSubstring("no client certificate"));
  const auto strange = refusal(tls.options_of("stranger"), false);
  CAPTURE(strange);
  CHECK_THAT(strange, ContainsSubstring("client certificate " + tls.certificates.file("stranger.pem")));
  CHECK_THAT(strange, !ContainsSubstring(body_of(tls.certificates.file("stranger.key"))));
}

TEST_CASE("a server that speaks no TLS, or one that wants it, is told at once") {
  TlsServer tls;
  NatsServer plain{{.config = {}, .arguments = {}, .jetstream = false, .monitoring = false}};
  auto options = tls.options();
  options.urls = {plain.url()};
  const auto wanted = refusal(options);
  CAPTURE(wanted);
  CHECK_THAT(wanted, ContainsSubstring("TLS"));

  auto bare = ConnectionOptions{};
  bare.urls = {tls.server->url()};
  const auto needed = refusal(bare);
  CAPTURE(needed);
  CHECK_THAT(needed, ContainsSubstring("TLS"));
}

TEST_CASE("files of a TLS login that cannot be used are an error with their names") {
  TlsServer tls;
  auto options = tls.options();
  options.ca_file = "/nowhere/ca.pem";
  CHECK_THAT(refusal(options), ContainsSubstring("NATS_CA /nowhere/ca.pem"));
  auto swapped = tls.options_of("client");
  swapped.key_file = tls.certificates.file("stranger.key");
  const auto told = refusal(swapped);
  CHECK_THAT(told, ContainsSubstring("client.pem"));
  CHECK_THAT(told, ContainsSubstring("stranger.key"));
}

TEST_CASE("a credentials file logs in where an operator's server knows its account") {
  auto server = server_with_operator();
  const TempDir folder;
  ConnectionOptions options;
  options.urls = {server.url()};
  options.credentials_file = (folder / "user.creds").string();
  std::ofstream{options.credentials_file} << credentials(user_jwt);
  Connection connection{options, std::stop_token{}};
  CHECK(connection.flush(5s));
  server.stop();
  server.start();
  REQUIRE_WITHIN(10s, connection.connected() && connection.generation() == 1);  // logs in once more
}

TEST_CASE("credentials of an account that the server does not know are refused, with the file alone") {
  auto server = server_with_operator();
  const TempDir folder;
  ConnectionOptions options;
  options.urls = {server.url()};
  const auto without = refusal(options);
  CHECK_THAT(without, ContainsSubstring("no login"));

  options.credentials_file = (folder / "user.creds").string();
  std::ofstream{options.credentials_file} << credentials(stranger_jwt);
  const auto told = refusal(options);
  CHECK_THAT(told, ContainsSubstring("refuses the login"));
  CHECK_THAT(told, ContainsSubstring("credentials file " + options.credentials_file));
  CHECK_THAT(told, !ContainsSubstring(user_seed));
  CHECK_THAT(told, !ContainsSubstring(stranger_jwt.substr(0, 60)));
}
