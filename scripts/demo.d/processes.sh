# The parts that the demo starts: each a process group of its own, ended in reverse order whatever happens,
# its output in the demo's folder. Sourced by scripts/demo.
# shellcheck shell=bash

mkdir -p build
dir=$(mktemp -d "$PWD/build/demo.XXXXXX")
folders=("$dir")   # to be removed
declare -A pids=() # of what runs, or ended by itself
declare -A killed=() # by crash()
started=()         # in this order; stopped in the reverse one
live=false         # the live line is on the screen
outcome=failed

say() {
  clear_live_line
  printf '%s\n' "$*"
}
complain() {
  clear_live_line
  printf 'demo: %s\n' "$*" >&2
}

clear_live_line() {
  if $live; then printf '\r\033[K'; fi
  live=false
}

now() { # in ms
  echo $((${EPOCHREALTIME/[!0-9]/} / 1000))
}

in_seconds() { # MS
  printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100))
}

is_running() { kill -0 "${pids[$1]}" 2>/dev/null; }

# Runs a command in the background, in a process group of its own: Ctrl-C then reaches this script
# alone, which stops the parts in their order.
start() { # NAME COMMAND…
  local name=$1
  shift
  set -m
  "$@" >>"$dir/$name.out" 2>>"$dir/$name.log" </dev/null &
  pids[$name]=$!
  set +m
  started+=("$name")
}

# Ends a process that start() began, and returns its exit code.
stop() { # NAME
  local pid=${pids[$1]} code=0 tries
  unset "pids[$1]"
  kill -TERM -- "-$pid" 2>/dev/null || true
  for ((tries = 0; tries < 150; tries++)); do
    kill -0 -- "-$pid" 2>/dev/null || break
    sleep 0.1
  done
  if kill -KILL -- "-$pid" 2>/dev/null; then complain "$1 did not end within 15 s and was killed"; fi
  wait "$pid" 2>/dev/null || code=$?
  return "$code"
}

stop_all() {
  local i name
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    name=${started[i]}
    if [[ -n ${pids[$name]:-} ]]; then stop "$name" || true; fi
  done
}

# As a crash does: SIGKILL.
crash() { # NAME
  local pid=${pids[$1]}
  is_running "$1" || die "$1 ended before it was to be killed" "$1"
  unset "pids[$1]"
  killed[$1]=true
  kill -KILL -- "-$pid"
  wait "$pid" 2>/dev/null || true
}

run_quietly() { # NAME COMMAND…
  local code=0
  start "$@"
  wait "${pids[$1]}" || code=$?
  unset "pids[$1]"
  return "$code"
}

await() { # SECONDS WHAT PART CONDITION…: until the condition holds, while the part runs
  local end=$((SECONDS + $1)) what=$2 part=$3
  shift 3
  until "$@"; do
    is_running "$part" || die "$part ended before $what" "$part"
    ((SECONDS < end)) || die "$what did not happen in time" "$part"
    sleep 0.05
  done
}

require_running() {
  local name
  for name in "${!pids[@]}"; do
    [[ $name == register ]] || is_running "$name" || die "$name ended by itself" "$name"
  done
}

show_logs() {
  local name file
  for name in "$@"; do
    file=$dir/$name.log
    [[ -s $file ]] || file=$dir/$name.out
    [[ -s $file ]] || continue
    printf -- '--- end of %s\n' "${file#"$PWD/"}" >&2
    tail -n 15 -- "$file" >&2
  done
}

die() { # MESSAGE [PART whose log tells more]…
  complain "$1"
  shift
  show_logs "$@"
  exit 1
}

on_exit() {
  local code=$?
  trap '' INT TERM
  trap - EXIT
  clear_live_line
  case $outcome in
    kept) ;;
    failed)
      stop_all
      if ((code == 0)); then code=1; fi
      complain "failed; logs and databases are in ${folders[*]#"$PWD/"}"
      ;;
    *)
      stop_all
      rm -rf -- "${folders[@]}"
      ;;
  esac
  exit "$code"
}

on_signal() { # CODE
  trap '' INT TERM
  outcome=interrupted
  complain 'interrupted: ending what was started'
  exit "$1"
}

trap on_exit EXIT
trap 'on_signal 130' INT
trap 'on_signal 143' TERM
