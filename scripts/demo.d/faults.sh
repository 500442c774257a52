# What is done to the cluster while users register, at moments that figures tell: a consumer is killed, then the
# server that leads the stream, then the active relay; when that is replaced, the server comes back. Sourced by
# scripts/demo.
# shellcheck shell=bash

fault=consumer # the next one
story=()       # what was done, and when
victim=''      # the server that was killed
since=0        # when the last thing was done, in ms
published_then=0

disturb() {
  case $fault in
    consumer) if reached 10 "$handled"; then kill_consumer; fi ;;
    leader) if reached 40 "$published"; then kill_stream_leader; fi ;;
    election) note_election ;;
    recovery) if ((published > published_then || published == registered)); then note_recovery; fi ;;
    relay) if reached 75 "$published"; then kill_active_relay; fi ;;
    takeover) note_takeover ;;
  esac
}

is_undisturbed() { [[ $fault == none ]]; }

reached() { # PERCENT COUNT
  (($2 * 100 >= users * $1))
}

# The users come in thirds, the next one when it is the next fault's turn: so users register at each of the
# moments, however quick the machine is.
register_users() { # INPUT BATCH
  split --number=l/3 "$1" "$dir/third."
  let_in_third aa
  give_users | "$bin/auth-service" register --from - --batch "$2" --json
}

give_users() {
  local third
  for third in aa ab ac; do
    until [[ -e $dir/third.$third.now ]]; do sleep 0.02; done
    cat "$dir/third.$third"
  done
}

let_in_third() { : >"$dir/third.$1.now"; }

tell() { # WHAT
  story+=("after $(in_seconds $(($(now) - begun))): $1")
  say "${story[-1]}"
}

kill_part() { # NAME WHAT
  is_running register || die "all users were registered before $1 could be killed: take more of them" register
  crash "$1"
  since=$(now)
  tell "killed $2 (registered $registered, published $published, handled $handled)"
}

kill_consumer() {
  local name
  name=$(busiest_consumer)
  kill_part "$name" "$name, the busiest one"
  let_in_third ab
  fault=leader
}

kill_stream_leader() {
  victim=$(stream_leader) || true
  [[ -n $victim ]] || return 0
  kill_part "$victim" "$victim, which led the stream"
  fault=election
}

note_election() {
  local leader
  leader=$(stream_leader) || true
  [[ -n $leader && $leader != "$victim" ]] || return 0
  published_then=$published
  tell "$leader leads the stream, $(in_seconds $(($(now) - since))) later"
  fault=recovery
}

note_recovery() {
  tell "events are published again, $(in_seconds $(($(now) - since))) after the kill"
  let_in_third ac
  fault=relay
}

kill_active_relay() {
  local name
  name=$(active_relay)
  [[ -n $name ]] || return 0
  kill_part "$name" "$name, the active one"
  fault=takeover
}

note_takeover() {
  local name
  name=$(active_relay)
  [[ -n $name ]] || return 0
  tell "$name has taken over, $(in_seconds $(($(now) - since))) later"
  start_server "$victim"
  tell "started $victim again"
  fault=none
}
