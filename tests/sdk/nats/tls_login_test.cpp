// Logins with TLS and client certificates: what is refused, and what is waited for.

#include "support/nats_server.hpp"
#include "support/process.hpp"
#include "support/refused_login.hpp"
#include "support/tcp_proxy.hpp"
#include "support/temp_dir.hpp"
#include "support/virtual_network.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
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
  /// Signed by `ca`, good for `subject`: a server's at that address, or a client's. Of 0 days: expired.
  void make(const std::string& name, const std::string& ca, const std::string& subject = "IP:127.0.0.1",
            int days = 2) {
    std::ofstream{file(name + ".ext")} << "subjectAltName=" << subject
                                       << "\nextendedKeyUsage=serverAuth,clientAuth\n";
    openssl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
             "-keyout", file(name + ".key"), "-out", file(name + ".csr")});
    openssl({"x509", "-req", "-in", file(name + ".csr"), "-CA", file(ca + ".pem"), "-CAkey",
             file(ca + ".key"), "-set_serial", std::to_string(++serial_), "-days", std::to_string(days),
             "-extfile", file(name + ".ext"), "-out", file(name + ".pem")});
  }
  /// From now on, the file of that name has what is in the other.
  void replace(const std::string& name, const std::string& other) const {
    std::filesystem::copy_file(file(other), file(name), std::filesystem::copy_options::overwrite_existing);
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
  explicit TlsServer(bool verify = false, const Host& host = {}) {
    const auto subject = "IP:" + host.address;
    certificates.make_ca("ca");
    certificates.make_ca("other-ca");
    certificates.make("server", "ca", subject);
    certificates.make("client", "ca");
    certificates.make("stranger", "other-ca");
    certificates.make("expired", "ca", subject, 0);
    server.emplace(NatsServerOptions{.config = "tls { cert_file: \"" + certificates.file("server.pem") +
                                               "\", key_file: \"" + certificates.file("server.key") +
                                               "\", ca_file: \"" + certificates.file("ca.pem") +
                                               "\", verify: " + (verify ? "true" : "false") + " }",
                                     .arguments = {},
                                     .jetstream = false,
                                     .monitoring = false,
                                     .host = host});
  }

  /// With another's certificate and key.
  void restart_with(const std::string& certificate) {
    server->stop();
    certificates.replace("server.pem", certificate + ".pem");
    certificates.replace("server.key", certificate + ".key");
    server->start();
  }
  /// A client has looked at its certificate, and ended the handshake.
  [[nodiscard]] bool refused() const { return server->log().find("error: tls: ") != std::string::npos; }

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

/// What a file holds, but its first and last line.
std::string body_of(const std::string& file) {
  std::ifstream from{file};
  std::string text{std::istreambuf_iterator<char>{from}, {}};
  return text.substr(text.find('\n') + 1, 40);
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
  const auto without = refusal_while_waiting(tls.options());
  CAPTURE(without);
  CHECK_THAT(without, ContainsSubstring("no client certificate"));
  const auto strange = refusal_while_waiting(tls.options_of("stranger"));
  CAPTURE(strange);
  CHECK_THAT(strange, ContainsSubstring("client certificate " + tls.certificates.file("stranger.pem")));
  CHECK_THAT(strange, !ContainsSubstring(body_of(tls.certificates.file("stranger.key"))));
}

TEST_CASE("a certificate that has expired is refused, the server's and the client's") {
  TlsServer tls{true};
  const auto client = refusal_while_waiting(tls.options_of("expired"));
  CAPTURE(client);
  CHECK_THAT(client, ContainsSubstring("client certificate " + tls.certificates.file("expired.pem")));

  tls.restart_with("expired");
  const auto server = refusal(tls.options_of("client"));
  CAPTURE(server);
  CHECK_THAT(server, ContainsSubstring("certificate has expired"));
}

TEST_CASE("wherever the connection ends while TLS and login are under way, that is waited for") {
  TlsServer tls{true};
  auto options = tls.options_of("client");
  std::uint64_t whole = 0;
  {
    TcpProxy proxy{tls.server->port()};
    options.urls = {proxy.url()};
    Connection connection{options};
    whole = proxy.bytes_to_server();
  }
  for (std::uint64_t at = 1; at <= whole; at += 100) {
    CAPTURE(at, whole);
    TcpProxy proxy{tls.server->port()};
    options.urls = {proxy.url()};
    proxy.cut_after_bytes_to_server(at);
    CHECK(Connection{options, std::stop_token{}}.connected());
  }
}

TEST_CASE("a server that keeps ending the connection during the TLS handshake is waited for") {
  TlsServer tls;
  TcpProxy proxy{tls.server->port()};
  auto options = tls.options();
  options.urls = {proxy.url()};
  proxy.cut_after_bytes_to_server(1);
  CHECK(error_of<NatsError>([&] { Connection connection{options}; }).find("TLS handshake") !=
        std::string::npos);
  std::jthread cutting{[&](const std::stop_token& stop) {
    for (std::uint64_t cut = proxy.cuts(); cut < 10 && !stop.stop_requested(); ++cut) {
      proxy.cut_after_bytes_to_server(1);
      (void)eventually(10s, [&] { return proxy.cuts() > cut || stop.stop_requested(); });
    }
  }};
  CHECK(Connection{options, std::stop_token{}}.connected());
  CHECK(proxy.cuts() == 10);
}

TEST_CASE("a server that comes back and wants certificates of another CA ends the connection for good") {
  TlsServer tls{true};
  const auto options = tls.options_of("client");
  Connection connection{options, std::stop_token{}};
  tls.server->stop();
  tls.certificates.replace("ca.pem", "other-ca.pem");  // the client has read it
  tls.server->start();
  const auto told = end_of(connection);
  CHECK_THAT(told, ContainsSubstring("client certificate " + options.cert_file));
  CHECK_FALSE(connection.connected());
}

TEST_CASE("a server that comes back with a certificate that is not trusted ends the connection for good") {
  TlsServer tls;
  Connection connection{tls.options(), std::stop_token{}};
  tls.restart_with("stranger");
  CHECK_THAT(end_of(connection), ContainsSubstring("NATS_CA " + tls.certificates.file("ca.pem")));
}

TEST_CASE("a server whose certificate is mended soon has its connections back") {
  TlsServer tls;
  Connection connection{tls.options(), std::stop_token{}};
  tls.restart_with("stranger");
  REQUIRE_WITHIN(10s, tls.refused());
  tls.restart_with("client");
  REQUIRE_WITHIN(10s, connection.connected());
  CHECK_NOTHROW(connection.require_open());
}

TEST_CASE("a server that was refused once, and then is away, is waited for") {
  if (!VirtualNetwork::possible()) {
    WARN("not tested: this user may not make network namespaces");
    return;
  }
  VirtualNetwork network{2};  // on 127.0.0.1, nats.c has other words for a connect that fails
  TlsServer tls{false, network.host(1)};
  Connection connection{tls.options(), std::stop_token{}};
  tls.restart_with("stranger");
  REQUIRE_WITHIN(10s, tls.refused());
  tls.server->stop();
  const auto stopped = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > stopped + 7s);
  CHECK_NOTHROW(connection.require_open());
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
