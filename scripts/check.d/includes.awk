# Fails on an include against the arrows of the file rooms, and prints the pairs of nouns for tsort.
# Input: rooms, then the list of all files, then lines "FILE:#include …" as git grep prints them.
# With -v pairs=FILE the pairs go there.

function room_of(path,   prefix, best, found) {
  for (prefix in room_at)
    if (index(path, prefix) == 1 && length(prefix) > length(best)) { best = prefix; found = room_at[prefix] }
  return found
}

function library_of(path) {
  if (path ~ /^producer\//) return substr(path, 10, index(substr(path, 10), "/") - 1)
  return substr(path, 1, index(path, "/") - 1)
}

# x.hpp and x.cpp are one noun; a main.cpp of each program is one of its own.
function noun_of(path,   name) {
  name = path
  sub(/.*\//, "", name)
  sub(/\.[^.]*$/, "", name)
  return library_of(path) ":" name
}

# What tsort sorts: a noun, or the .cpp of a front by itself.
function node_of(path) {
  return noun_of(path) (noun_of(path) in is_front && path ~ /\.cpp$/ ? ".cpp" : "")
}

function folder_of(path) { sub(/[^\/]*$/, "", path); return path }

# Where an include of ours leads to; empty for what is not ours or made by the build.
function target_of(file, name, quoted,   i, candidate) {
  if (quoted && (folder_of(file) name) in is_file) return folder_of(file) name
  for (i = 1; i <= roots; i++) {
    candidate = root[i] name
    if (candidate in is_file) return candidate
  }
  return ""
}

function complain(text) { print text; failed = 1 }

BEGIN {
  roots = split("sdk/http/src/ sdk/http/include/ sdk/src/ sdk/include/ producer/outbox/ producer/outbox/include/ producer/auth-service/ producer/", root, " ")
}

FNR == 1 { input++ }

input == 1 && $1 == "room" { for (i = 3; i <= NF; i++) room_at[$i] = $2; next }
input == 1 && $1 == "arrow" { for (i = 3; i <= NF; i++) allowed[$2, $i] = 1; next }
input == 1 && $1 == "front" { for (i = 2; i <= NF; i++) is_front[$i] = 1; next }
input == 1 && $1 == "stage" { stages++; for (i = 2; i <= NF; i++) stage["sdk:" $i] = stages; next }
input == 1 { next }

input == 2 {
  is_file[$0] = 1
  if (room_of($0) != "engine") next
  noun = noun_of($0)
  in_engine[noun] = 1
  if (!(noun in stage) && !told[noun]++) complain($0 ": has no stage in scripts/check.d/rooms")
  next
}

{
  colon = index($0, ":")
  file = substr($0, 1, colon - 1)
  line = substr($0, colon + 1)
  if (line !~ /^#include *["<]/) next
  quoted = line ~ /"/
  name = line
  sub(/^#include *["<]/, "", name)
  sub(/[">].*/, "", name)
  if (("/" name) ~ /\/\.\.?\//) complain(file ": includes " name ": say it without dots, or nobody sees where it leads")
  target = target_of(file, name, quoted)
  if (target == "") next
  from = room_of(file); to = room_of(target)
  if (from == "") { complain(file ": lies in no room of scripts/check.d/rooms"); next }
  if (from != to && !((from, to) in allowed))
    complain(file ": includes " name ", but " from " may not include from " to)
  a = noun_of(file); b = noun_of(target)
  if (a == b) next
  if (a in in_engine && b in in_engine && stage[b] > stage[a])
    complain(file ": includes " name ", which comes later in a message's life")
  print node_of(target), node_of(file) > pairs
}

END {
  for (noun in stage)
    if (!(noun in in_engine)) complain("scripts/check.d/rooms: stage of " substr(noun, 5) ", which is not there")
  exit failed
}
