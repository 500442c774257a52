# The flow on one nats-server and two SQLite files: all that a service needs to begin. Sourced by scripts/demo.
# shellcheck shell=bash

auth=$dir/auth.db
welcome=$dir/welcome.db
inbox=$welcome # as consumers take it

start_flow() {
  export DATABASE_URL=sqlite:$auth
  start_nats
  "$bin/auth-service" migrate >/dev/null 2>"$dir/migrate.log" || die 'auth-service migrate failed' migrate
  start relay "$bin/tidings" relay
  start_consumers
  await 30 'the consumers had made their table' consumer-1 inbox_is_ready
}

ports_are_written() { [[ -s $dir/nats-server_${pids[nats-server]}.ports ]]; }
inbox_is_ready() { [[ $(count "$welcome" "SELECT 1 FROM sqlite_master WHERE name = 'welcome_email'") == 1 ]]; }

start_nats() {
  start nats-server nats-server -a 127.0.0.1 -p -1 -m -1 --ports_file_dir "$dir" -js -sd "$dir/nats"
  await 15 'nats-server was ready' nats-server ports_are_written
  local ports
  ports=$(<"$dir/nats-server_${pids[nats-server]}.ports")
  NATS_URL=$(sed -n 's/.*"nats":\["\([^"]*\)".*/\1/p' <<<"$ports")
  monitoring=$(sed -n 's/.*"monitoring":\["\([^"]*\)".*/\1/p' <<<"$ports")
  [[ -n $NATS_URL && -n $monitoring ]] || die "cannot read nats-server's ports file: $ports" nats-server
  export NATS_URL
}

# An fsync each is what a service does, and what a demo of a thousand users can wait for.
users_a_commit() { echo $(((users + 1999) / 2000 < 500 ? (users + 1999) / 2000 : 500)); }

register_users() { # INPUT BATCH
  "$bin/auth-service" register --from "$1" --batch "$2" --json
}

disturb() { :; }
is_undisturbed() { true; }

sql() { # DATABASE SQL
  sqlite3 -batch -init /dev/null -cmd '.timeout 10000' "$1" "$2"
}

count() { # DATABASE SQL: 0 while there is no such file or table
  local number=''
  if [[ -s $1 ]]; then number=$(sql "$1" "$2" 2>/dev/null) || true; fi
  printf '%s' "${number:-0}"
}

read_counts() {
  registered=$(count "$auth" 'SELECT count(*) FROM "user"')
  published=$(count "$auth" "SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'")
  handled=$(count "$welcome" 'SELECT count(*) FROM welcome_email')
}

# Milliseconds between the commit of a user and the handler of its event, at a share of all users.
latency() { # PERCENT
  sql "$auth" "ATTACH '$welcome' AS welcome;
    SELECT CAST(round((julianday(w.handled_at) - julianday(o.\"createdAt\")) * 86400000) AS INTEGER) AS ms
    FROM welcome.welcome_email w JOIN outbox_event o ON o.id = w.event_id
    ORDER BY ms LIMIT 1 OFFSET (SELECT count(*) * $1 / 100 FROM welcome.welcome_email)"
}

events_a_second() {
  sql "$auth" "ATTACH '$welcome' AS welcome;
    SELECT CAST(round(count(*) / max(0.001, (julianday(max(w.handled_at)) - julianday(min(o.\"createdAt\"))) * 86400)) AS INTEGER)
    FROM welcome.welcome_email w JOIN outbox_event o ON o.id = w.event_id"
}

# Users of whom no e-mail was written, or one with another name or address, byte for byte.
wrong_emails() {
  sql "$auth" "ATTACH '$welcome' AS welcome;
    SELECT count(*) FROM \"user\" u LEFT JOIN welcome.welcome_email w ON w.user_id = u.id
    WHERE w.user_id IS NULL OR CAST(w.name AS BLOB) != CAST(u.name AS BLOB) OR CAST(w.address AS BLOB) != CAST(u.email AS BLOB)"
}

summarize_flow() { :; }

what_runs() { # FOLDER
  cat <<TEXT
  NATS        $NATS_URL
  monitoring  $monitoring/jsz?consumers=true
  files       $1: auth.db (users and outbox), welcome.db (e-mails and inbox), *.log
TEXT
}

url_of_outbox() { echo "sqlite:$1/auth.db"; } # FOLDER
look_at_emails() {                            # FOLDER
  echo "sqlite3 -box $1/welcome.db 'SELECT address, subject, instance FROM welcome_email ORDER BY handled_at DESC LIMIT 5'"
}
