# The flow on three nats-servers and PostgreSQL, with two relays: as in production, on one machine.
# Sourced by scripts/demo; what is done to it is in faults.sh.
# shellcheck shell=bash

servers=(n1 n2 n3)
declare -A client_port=() monitoring_port=() route_port=()
as_postgres=()    # what precedes PostgreSQL's programs
postgres_data=''  # where its files are

start_flow() {
  # Their defaults, 10 s and 30 s, are more patient than a demo.
  export OUTBOX_STREAM_REPLICAS=3 OUTBOX_LEASE_MS=3000 CONSUMER_ACK_WAIT_MS=5000
  start_postgres
  start_servers
  "$bin/auth-service" migrate >/dev/null 2>"$dir/migrate.log" || die 'auth-service migrate failed' migrate
  sql 'CREATE SCHEMA welcome' || die 'cannot make the schema of the e-mails' postgres
  start relay-1 "$bin/tidings" relay
  await 30 'a relay was active' relay-1 a_relay_is_active
  start relay-2 "$bin/tidings" relay
  start_consumers
  await 30 'the consumers had made their table' consumer-1 inbox_is_ready
  await 30 'the stream had three replicas' relay-1 replicas_are_current
}

a_relay_is_active() { [[ -n $(active_relay) ]]; }
inbox_is_ready() { [[ $(sql "SELECT to_regclass('welcome.welcome_email') IS NOT NULL") == t ]]; }

# Outside of the range from which the kernel serves everybody else.
free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 12000))
    ! grep --quiet --word-regexp "$port" "$dir/ports" 2>/dev/null || continue
    (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  printf '%s ' "$port" >>"$dir/ports"
  echo "$port"
}

# --- PostgreSQL ---------------------------------------------------------------------------------

start_postgres() {
  local port
  find_postgres
  make_postgres_folder
  run_quietly initdb "${as_postgres[@]}" "$postgres/initdb" -D "$postgres_data" -U tidings --auth=trust \
    --encoding=UTF8 --locale=C --no-sync || die 'initdb failed' initdb
  port=$(free_port)
  export DATABASE_URL=postgresql://tidings@127.0.0.1:$port/postgres
  inbox="$DATABASE_URL?schema=welcome"
  start postgres "${as_postgres[@]}" "$postgres/postgres" -D "$postgres_data" -h 127.0.0.1 -p "$port" -k '' \
    -c max_connections=300
  await 30 'PostgreSQL was ready' postgres "$postgres/pg_isready" -q -d "$DATABASE_URL"
}

find_postgres() {
  postgres=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)
  [[ -x $postgres/initdb ]] || postgres=$(dirname "$(command -v initdb || true)")
  [[ -x $postgres/initdb ]] || die 'PostgreSQL is missing and scripts/setup did not install it: install it and try again'
}

# It refuses to run as root: then as the user that its package has made, who must get at the files. That user
# may have no way into the folder of a clone under /root.
make_postgres_folder() {
  postgres_data=$dir/postgres
  mkdir -m 700 "$postgres_data"
  ((EUID == 0)) || return 0
  as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  chmod 711 "$dir"
  if ! "${as_postgres[@]}" test -x "$dir"; then
    postgres_data=$(mktemp -d)
    folders+=("$postgres_data")
  fi
  chown postgres "$postgres_data"
}

sql() { # SQL
  "$postgres/psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -c "$1"
}

# --- NATS ---------------------------------------------------------------------------------------

start_servers() {
  local name
  NATS_URL='' routes=''
  for name in "${servers[@]}"; do
    client_port[$name]=$(free_port) monitoring_port[$name]=$(free_port) route_port[$name]=$(free_port)
    NATS_URL+=${NATS_URL:+,}nats://127.0.0.1:${client_port[$name]}
    routes+=${routes:+,}nats://127.0.0.1:${route_port[$name]}
  done
  export NATS_URL
  for name in "${servers[@]}"; do start_server "$name"; done
  for name in "${servers[@]}"; do await 30 "$name was in the cluster" "$name" is_in_cluster "$name"; done
}

start_server() { # NAME
  start "$1" nats-server -n "$1" -a 127.0.0.1 -p "${client_port[$1]}" -m "${monitoring_port[$1]}" \
    --cluster_name demo --cluster "nats://127.0.0.1:${route_port[$1]}" --routes "$routes" -js -sd "$dir/$1"
}

# What a server says of JetStream, as a file of JSON.
ask() ( # NAME
  exec 3<>"/dev/tcp/127.0.0.1/${monitoring_port[$1]}" || exit 1
  printf 'GET /jsz?streams=true HTTP/1.0\r\n\r\n' >&3
  timeout 5 sed '1,/^\r$/d' <&3 >"$dir/jsz.json"
) 2>/dev/null

json() { # EXPRESSION over `jsz`, which is that JSON, and `stream`, a part of it [NAME of the stream]
  sqlite3 -batch -init /dev/null :memory: "
    WITH told(jsz) AS (SELECT CAST(readfile('$dir/jsz.json') AS TEXT)),
    streams(stream) AS (SELECT s.value FROM told, json_each(jsz, '\$.account_details') a, json_each(a.value, '\$.stream_detail') s
      WHERE json_extract(s.value, '\$.name') = '${2:-AUTH_EVENTS}')
    SELECT $1 FROM told LEFT JOIN streams" 2>/dev/null || true
}

is_in_cluster() { # NAME
  ask "$1" && [[ $(json "json_extract(jsz, '\$.meta_cluster.leader') <> '' AND json_extract(jsz, '\$.meta_cluster.cluster_size') = 3") == 1 ]]
}

running_server() {
  local name
  for name in "${servers[@]}"; do
    if [[ -n ${pids[$name]:-} ]]; then echo "$name" && return; fi
  done
}

# The server that leads the stream; empty while one is elected.
stream_leader() {
  ask "$(running_server)" && json "coalesce(json_extract(stream, '\$.cluster.leader'), '')"
}

# Only the leader knows how far the others are.
replicas_are_current() {
  local leader
  leader=$(stream_leader) && [[ -n ${leader:+${pids[$leader]:-}} ]] && ask "$leader" &&
    [[ $(json "(SELECT count(*) FROM json_each(stream, '\$.cluster.replicas')
      WHERE json_extract(value, '\$.current') AND NOT coalesce(json_extract(value, '\$.offline'), 0))") == 2 ]]
}

messages_in() { # STREAM
  ask "$(stream_leader)" && json "json_extract(stream, '\$.state.messages')" "$1"
}

# --- figures ------------------------------------------------------------------------------------

# So many commits that users still register while parts are killed, and so few that nobody waits for minutes.
users_a_commit() { echo $(((users + 4999) / 5000 < 500 ? (users + 4999) / 5000 : 500)); }

read_counts() {
  local counts
  counts=$(sql "SELECT (SELECT count(*) FROM \"user\"), (SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'),
    (SELECT count(*) FROM welcome.welcome_email)") || die 'cannot count what is in PostgreSQL' postgres
  IFS='|' read -r registered published handled <<<"$counts"
}

handled_by() { # INSTANCE
  sql "SELECT count(*) FROM welcome.welcome_email WHERE instance = '$1'"
}

busiest_consumer() {
  sql 'SELECT instance FROM welcome.welcome_email GROUP BY instance ORDER BY count(*) DESC LIMIT 1'
}

# Its process id is the beginning of the lease holder's name.
active_relay() {
  local holder name
  holder=$(sql 'SELECT holder FROM outbox_lease') || true
  for name in relay-1 relay-2; do
    if [[ -n ${pids[$name]:-} && ${pids[$name]} == "${holder%%[!0-9]*}" ]]; then echo "$name"; fi
  done
}

emails_and_events='welcome.welcome_email w JOIN outbox_event o ON o.id = w.event_id'
createdAt="(o.\"createdAt\" AT TIME ZONE 'UTC')"

# Milliseconds between the commit of a user and the handler of its event, at a share of all users.
latency() { # PERCENT
  sql "SELECT round(extract(epoch FROM percentile_disc($1 / 100.0) WITHIN GROUP (ORDER BY w.handled_at - $createdAt)) * 1000)
    FROM $emails_and_events"
}

events_a_second() {
  sql "SELECT round(count(*) / greatest(0.001, extract(epoch FROM max(w.handled_at) - min($createdAt)))) FROM $emails_and_events"
}

# Users of whom no e-mail was written, or one with another name or address, byte for byte.
wrong_emails() {
  sql "SELECT count(*) FROM \"user\" u LEFT JOIN welcome.welcome_email w ON w.user_id = u.id
    WHERE w.user_id IS NULL OR w.name COLLATE \"C\" <> u.name OR w.address COLLATE \"C\" <> u.email"
}

longest_pause() { # COLUMN TABLE
  sql "SELECT round(extract(epoch FROM max(pause)) * 1000) FROM (SELECT $1 - lag($1) OVER (ORDER BY $1) AS pause FROM $2) AS pauses"
}

# The stream, too, has each event once: a relay that takes over sends again what its predecessor could not mark.
summarize_flow() {
  local messages dead_letters line
  await 60 'the stream was whole on all three servers' n1 replicas_are_current
  messages=$(messages_in AUTH_EVENTS)
  dead_letters=$(messages_in AUTH_DLQ)
  row 'in the stream, 3 copies' "$messages"
  row 'longest publish pause' "$(longest_pause '"publishedAt"' outbox_event)" ms
  row 'longest handling pause' "$(longest_pause handled_at welcome.welcome_email)" ms
  say ''
  for line in "${story[@]}"; do say "  $line"; done
  [[ $messages == "$registered" ]] || die "the stream has $messages messages for $registered users" n1 n2 n3
  [[ $dead_letters == 0 ]] || die "there are $dead_letters dead letters in AUTH_DLQ: faults were taken for failures" consumer-1
}

# --- what --keep says ---------------------------------------------------------------------------

what_runs() { # FOLDER
  cat <<TEXT
  NATS        $NATS_URL
  monitoring  $(for name in "${servers[@]}"; do printf 'http://127.0.0.1:%s ' "${monitoring_port[$name]}"; done)
  PostgreSQL  $DATABASE_URL (e-mails and inbox: schema welcome)
  files       $1: n1, n2, n3 (streams), *.log
TEXT
}

url_of_outbox() { echo "$DATABASE_URL"; }
look_at_emails() {
  echo "psql '$DATABASE_URL' -c 'SELECT address, subject, instance FROM welcome.welcome_email ORDER BY handled_at DESC LIMIT 5'"
}
