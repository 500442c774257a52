# Fails on a flag that documents give to a program of ours and its --help does not name. Input: lines
# "PROGRAM --flag" of what --help names, then Markdown files. Flags without a program in front, as `--drain`, must
# be of one of the programs.

BEGIN {
  program = "(^|[ (/])(auth-service|tidings|consumer-example|scripts/[a-z-]+)( |$)"
  flag = "--[a-z][a-z0-9-]*"
  # Of the nats CLI and of Debian's commands, where documents name them by themselves.
  split("--inbox-prefix --max-pending --signal", foreign, " ")
  for (i in foreign) is_known[foreign[i]] = 1
}

NR == FNR { names[$1, $2] = 1; is_known[$2] = 1; next }

function complain(name, of) {
  print FILENAME ":" FNR ": " name (of == "" ? " is in no program's --help" : " is not in the --help of " of)
  failed = 1
}

# The flags in a command line of ours, which ends where the shell's next command or a comment begins.
function check_command(of, text) {
  sub(/(\\?\||;|&&| #).*/, "", text)
  while (match(text, flag)) {
    name = substr(text, RSTART, RLENGTH)
    text = substr(text, RSTART + RLENGTH)
    if (!((of, name) in names)) complain(name, of)
  }
}

function check_code(code,   rest, of) {
  if (match(code, "^" flag)) {
    name = substr(code, 1, RLENGTH)
    if (!(name in is_known)) complain(name, "")
    return
  }
  rest = code
  while (match(rest, program)) {
    of = substr(rest, RSTART, RLENGTH)
    rest = substr(rest, RSTART + RLENGTH)
    gsub(/^[ (\/]| $/, "", of)
    check_command(of, rest)
  }
}

FNR == 1 { fenced = 0; held = "" }
/^ *```/ { fenced = !fenced; next }
fenced {
  if (sub(/\\$/, "")) { held = held $0; next }
  check_code(held $0)
  held = ""
  next
}
{
  rest = $0
  while (match(rest, /`[^`]+`/)) {
    code = substr(rest, RSTART + 1, RLENGTH - 2)
    rest = substr(rest, RSTART + RLENGTH)
    check_code(code)
  }
}

END { exit failed }
