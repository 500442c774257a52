#include "welcome_email.hpp"

// Under a lock: instances that start at the same moment would make the same table twice.
void create_tables(tidings::PostgresConnection& database) {
  database.script(R"sql(
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('welcome_email'));
CREATE TABLE IF NOT EXISTS welcome_email(
    user_id text PRIMARY KEY, event_id text NOT NULL, address text NOT NULL, name text NOT NULL,
    subject text NOT NULL, body text NOT NULL, instance text NOT NULL, handled_at timestamptz NOT NULL);
COMMIT;
)sql");
}

void write(tidings::PostgresTransaction& tx, const WelcomeEmail& email) {
  // Sent with other events' statements: nothing of its answer is needed here.
  tx.queue("INSERT INTO welcome_email VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", email.user_id, email.event_id,
           email.address, email.name, email.subject, email.body, email.instance, email.handled_at);
}
