#include "auth_service.hpp"

#include "infrastructure/sqlite/sqlite_database.hpp"
#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <nlohmann/json.hpp>
#include <sqlite3.h>

#include <stdexcept>

using namespace tidings;
using namespace tidings::test;

namespace {

struct Service {
  TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  AuthService auth = [this] {
    AuthService::migrate(database);
    return AuthService{database};
  }();

  [[nodiscard]] std::int64_t users() const {
    return sqlite::number(folder / "a.db", "SELECT count(*) FROM \"user\"");
  }
  [[nodiscard]] std::int64_t events() const {
    return sqlite::number(folder / "a.db", "SELECT count(*) FROM outbox_event");
  }

  /// Why a registration is refused; empty when it is not.
  std::string refusal(const std::string& email, const std::string& name = "Ann") {
    try {
      auth.register_user({email, name});
      return {};
    } catch (const InvalidRegistration& error) {
      CHECK_FALSE(error.retryable());
      return error.what();
    }
  }
};

std::string times(std::size_t count, const std::string& text) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("a registered user has a row, and an event that tells of it") {
  Service service;
  const auto user = service.auth.register_user({"Zoe@Debian.ORG", "Zoë O'Neil"});
  CHECK(user.email == "Zoe@debian.org");
  CHECK(user.name == "Zoë O'Neil");
  CHECK_FALSE(user.email_verified);

  CHECK(sqlite::column(service.folder / "a.db",
                       R"(SELECT id || ' ' || email || ' ' || name || ' ' || createdAt FROM "user")") ==
        std::vector<std::string>{user.id + " Zoe@debian.org Zoë O'Neil " + to_iso8601(user.created_at)});

  const auto outbox = service.database.outbox();
  std::vector<OutboxEvent> events;
  outbox->read_pending(10, events);
  REQUIRE(events.size() == 1);
  CHECK(events[0].aggregate_id == user.id);
  CHECK(events[0].aggregate_type == "User");
  CHECK(events[0].event_type == "user.created");
  CHECK(events[0].occurred_at == user.created_at);
  CHECK(nlohmann::json::parse(events[0].event_data) ==
        nlohmann::json{{"data",
                        {{"userId", user.id},
                         {"email", "Zoe@debian.org"},
                         {"name", "Zoë O'Neil"},
                         {"emailVerified", false},
                         {"createdAt", to_iso8601(user.created_at)}}},
                       {"metadata", {{"source", "auth-service"}, {"action", "user.register"}}}});
}

TEST_CASE("an address that can receive mail is accepted") {
  Service service;
  for (const auto& email :
       {std::string("x@debian.org"), std::string("list@lists.debian.org"),
        std::string("pkg-perl-maintainers@lists.alioth.debian.org"),
        std::string("o'neil+tag=1@example.co.uk"), std::string("team+pkg-go@tracker.debian.org"),
        std::string("zoë@exämple.org"), std::string("jöhn@xn--exmple-cua.org"),
        std::string("a.b_c-d@1und1.de"), std::string("1@2.3d"), std::string("!#$%&'*/=?^_`{|}~@example.org"),
        times(64, "l") + "@example.org", "a@" + times(63, "d") + ".org",
        times(64, "l") + "@" + times(61, "a") + "." + times(61, "b") + "." + times(62, "c") + ".de"}) {
    INFO(email);
    CHECK(service.refusal(email).empty());
  }
}

TEST_CASE("an address that cannot is refused, and nothing is written") {
  Service service;
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "is empty"},
      {"ann", "has no @"},
      {"@example.org", "has nothing before the @"},
      {"ann@", "has no dot in its domain"},
      {"ann@localhost", "has no dot in its domain"},
      {"ann@b@example.org", "has more than one @"},
      {times(65, "l") + "@example.org", "has more than 64 bytes before the @"},
      {times(64, "l") + "@" + times(61, "a") + "." + times(61, "b") + "." + times(62, "c") + ".net",
       "is longer than 254 bytes"},
      {" ann@example.org", "has a space or control character"},
      {"ann@example.org ", "has a space or control character"},
      {"ann@example.org\n", "has a space or control character"},
      {"an n@example.org", "has a space or control character"},
      {"ann\xc2\xa0@example.org", "has a space or control character"},
      {"ann\xe3\x80\x80@example.org", "has a space or control character"},
      {"ann\xc2\x85@example.org", "has a space or control character"},
      {std::string("ann\0@example.org", 16), "has a space or control character"},
      {"ann\x7f@example.org", "has a space or control character"},
      {"<ann@example.org", "has a character before the @ that an address cannot have"},
      {"\"ann\"@example.org", "has a character before the @ that an address cannot have"},
      {"ann,bob@example.org", "has a character before the @ that an address cannot have"},
      {"ann@.example.org", "has an empty part in its domain"},
      {"ann@example..org", "has an empty part in its domain"},
      {"ann@example.org.", "has an empty part in its domain"},
      {"ann@-example.org", "has a domain part that starts or ends with -"},
      {"ann@example-.org", "has a domain part that starts or ends with -"},
      {"ann@exa_mple.org", "has a character in its domain that a domain cannot have"},
      {"ann@example.org>", "has a character in its domain that a domain cannot have"},
      {"ann@[127.0.0.1]", "has a character in its domain that a domain cannot have"},
      {"ann@127.0.0.1", "has a number where its domain should end"},
      {"ann@" + times(64, "d") + ".org", "has a part of more than 63 bytes in its domain"},
      {"ann\xff@example.org", "is not valid UTF-8"},
      {"ann@ex\xc3.org", "is not valid UTF-8"}};
  for (const auto& [email, why] : wrong) {
    INFO(email);
    CHECK(service.refusal(email) == "email: " + why);
  }
  CHECK(service.users() == 0);
  CHECK(service.events() == 0);
}

TEST_CASE("a name may be in any script and is kept as it is") {
  Service service;
  int number = 0;
  for (const auto& name :
       {std::string("A"), std::string("Frédéric O’Connor-Łukasiewicz, Jr."), std::string("山田 太郎"),
        std::string(" Ann "), std::string("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb"), times(255, "x"),
        times(255, "\xf0\x9f\x99\x82"), std::string("\xf4\x8f\xbf\xbf\xee\x80\x80\xed\x9f\xbf")}) {
    INFO(name);
    CHECK(service.auth.register_user({std::to_string(++number) + "@example.org", name}).name == name);
  }
}

TEST_CASE("a name that is empty, too long or not text is refused, and nothing is written") {
  Service service;
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "is empty"},
      {" \xc2\xa0\xe3\x80\x80", "is empty"},
      {times(256, "x"), "is longer than 255 characters"},
      {times(256, "\xf0\x9f\x99\x82"), "is longer than 255 characters"},
      {times(1'000'000, "x"), "is longer than 255 characters"},
      {"Ann\nBob", "has a control character"},
      {std::string("Ann\0", 4), "has a control character"},
      {"Ann\x7f", "has a control character"},
      {"Ann\xc2\x9b", "has a control character"},
      {"Ann\xe2\x80\xa8", "has a control character"},
      {"\x80", "is not valid UTF-8"},  // a continuation alone
      {"\xc3", "is not valid UTF-8"},  // cut off
      {"\xe2\x82", "is not valid UTF-8"},
      {"\xf0\x9f\x99", "is not valid UTF-8"},
      {"\xe2(\xa1", "is not valid UTF-8"},
      {"\xc0\xaf", "is not valid UTF-8"},  // overlong
      {"\xc1\xbf", "is not valid UTF-8"},
      {"\xe0\x9f\xbf", "is not valid UTF-8"},
      {"\xf0\x8f\xbf\xbf", "is not valid UTF-8"},
      {"\xed\xa0\x80", "is not valid UTF-8"},  // surrogates
      {"\xed\xbf\xbf", "is not valid UTF-8"},
      {"\xf4\x90\x80\x80", "is not valid UTF-8"},  // past U+10FFFF
      {"\xf5\x80\x80\x80", "is not valid UTF-8"},
      {"\xf8\x88\x80\x80\x80", "is not valid UTF-8"},
      {"\xfe", "is not valid UTF-8"},
      {"\xff", "is not valid UTF-8"}};
  for (const auto& [name, why] : wrong) {
    INFO(name.substr(0, 300));
    CHECK(service.refusal("ann@example.org", name) == "name: " + why);
  }
  CHECK(service.users() == 0);
  CHECK(service.events() == 0);
}

TEST_CASE("an address is registered once, in whatever case it is written") {
  Service service;
  CHECK(service.refusal("Ann@example.org").empty());
  for (const auto* email : {"Ann@example.org", "ann@example.org", "ANN@EXAMPLE.ORG"})
    CHECK(service.refusal(email, "Another") == "email: is already registered");
  CHECK(service.users() == 1);
  CHECK(service.events() == 1);
  CHECK(service.refusal("anna@example.org").empty());
}

TEST_CASE("an error does not repeat what was typed") {
  Service service;
  CHECK(service.refusal("secret@example.org", "Secret").empty());
  for (const auto& text : {service.refusal("secret@example.org"), service.refusal("secret@localhost"),
                           service.refusal("other@example.org", "secret\n")}) {
    CHECK_FALSE(text.empty());
    CHECK(text.find("secret") == std::string::npos);
  }
}

TEST_CASE("of many registrations the refused ones do not hold up the others") {
  Service service;
  service.auth.register_user({"taken@example.org", "Taken"});
  const std::vector<Registration> registrations{{"a@example.org", "A"},       {"taken@example.org", "B"},
                                                {"not an address", "C"},      {"d@example.org", "D"},
                                                {"D@example.org", "D again"}, {"e@example.org", ""},
                                                {"f@example.org", "F"}};
  const auto outcomes = service.auth.register_users(registrations);
  std::vector<std::string> errors;
  for (const auto& outcome : outcomes) errors.push_back(outcome.error);
  CHECK(errors == std::vector<std::string>{"", "email: is already registered",
                                           "email: has a space or control character", "",
                                           "email: is already registered", "name: is empty", ""});
  CHECK(outcomes[3].user.email == "d@example.org");
  CHECK(sqlite::column(service.folder / "a.db", "SELECT email FROM \"user\" ORDER BY email") ==
        std::vector<std::string>{"a@example.org", "d@example.org", "f@example.org", "taken@example.org"});
  // Each user's event, and no other, in the order of registration.
  CHECK(sqlite::column(service.folder / "a.db",
                       "SELECT aggregateId FROM outbox_event WHERE rowid > 1 ORDER BY rowid") ==
        std::vector<std::string>{outcomes[0].user.id, outcomes[3].user.id, outcomes[6].user.id});
  CHECK(service.auth.register_users({}).empty());
}

TEST_CASE("a user whose event cannot be written is not registered") {
  Service service;
  service.database.handle().exec(
      "CREATE TRIGGER refuse BEFORE INSERT ON outbox_event WHEN NEW.eventData LIKE '%refuse%' "
      "BEGIN SELECT RAISE(ABORT, 'refused'); END");
  CHECK_THROWS_AS(service.auth.register_user({"refuse@example.org", "A"}), DatabaseError);
  CHECK(service.users() == 0);
  const std::vector<Registration> registrations{{"a@example.org", "A"}, {"refuse@example.org", "B"}};
  CHECK_THROWS_AS(service.auth.register_users(registrations), DatabaseError);
  CHECK(service.users() == 0);
  CHECK(service.events() == 0);
  CHECK(service.refusal("a@example.org").empty());
}

TEST_CASE("a process killed at any point of a registration leaves both rows or none") {
  using Hook = std::function<void(sqlite3*)>;
  const std::vector<std::pair<std::string, Hook>> points{
      {"after the user's row",
       [](sqlite3* database) {
         sqlite3_update_hook(
             database,
             [](void*, int, const char*, const char* table, sqlite3_int64) {
               if (std::string_view{table} == "user") ::raise(SIGKILL);
             },
             nullptr);
       }},
      {"after the event's row",
       [](sqlite3* database) {
         sqlite3_update_hook(
             database,
             [](void*, int, const char*, const char* table, sqlite3_int64) {
               if (std::string_view{table} == "outbox_event") ::raise(SIGKILL);
             },
             nullptr);
       }},
      {"at the commit",
       [](sqlite3* database) {
         sqlite3_commit_hook(
             database, [](void*) { return ::raise(SIGKILL); }, nullptr);
       }},
      {"after the commit", [](sqlite3* database) {
         sqlite3_wal_hook(
             database, [](void*, sqlite3*, const char*, int) { return ::raise(SIGKILL); }, nullptr);
       }}};
  for (const auto& [name, install] : points) {
    INFO(name);
    const TempDir folder;
    {
      SqliteDatabase database{folder / "a.db", Database::Open::create};
      AuthService::migrate(database);
    }
    Child child{[&folder, &install = install] {
      SqliteDatabase database{folder / "a.db"};
      AuthService auth{database};
      install(database.handle().getHandle());
      auth.register_user({"ann@example.org", "Ann"});
      return 0;
    }};
    REQUIRE(child.wait() == killed_by(SIGKILL));
    const auto expected = name == "after the commit" ? 1 : 0;
    CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM \"user\"") == expected);
    CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM outbox_event") == expected);

    // What is left does not stand in the way of the next.
    SqliteDatabase database{folder / "a.db"};
    AuthService auth{database};
    auth.register_user({"bob@example.org", "Bob"});
    CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM \"user\"") == expected + 1);
  }
}
