# Fails on a relative link, or an anchor, that leads nowhere. Input: the list of all files and folders, then the
# Markdown files twice: first for their headings, then for their links.

function folder_of(path) { sub(/[^\/]*$/, "", path); return path }

# a/b/../c and a/./c without their dots, and without a slash at the end.
function plain(path,   parts, n, i, kept, out) {
  n = split(path, parts, "/")
  for (i = 1; i <= n; i++) {
    if (parts[i] == "" || parts[i] == ".") continue
    if (parts[i] == "..") { kept--; continue }
    out[++kept] = parts[i]
  }
  path = ""
  for (i = 1; i <= kept; i++) path = path (i > 1 ? "/" : "") out[i]
  return path
}

# As GitHub makes an anchor of a heading.
function anchor_of(heading) {
  heading = tolower(heading)
  gsub(/\]\([^)]*\)/, "", heading)
  gsub(/[^a-z0-9 _-]/, "", heading)
  gsub(/ /, "-", heading)
  return heading
}

function check(link,   hash, path, anchor) {
  hash = index(link, "#")
  path = hash ? substr(link, 1, hash - 1) : link
  anchor = hash ? substr(link, hash + 1) : ""
  path = path == "" ? FILENAME : plain(folder_of(FILENAME) path)
  if (path != "" && !(path in exists)) { print FILENAME ":" FNR ": leads nowhere: " link; failed = 1; return }
  if (anchor != "" && path ~ /\.md$/ && !((path, anchor) in heading)) {
    print FILENAME ":" FNR ": " path " has no heading for #" anchor
    failed = 1
  }
}

FNR == 1 { fenced = 0; if (NR > 1) pass[FILENAME]++ }

NR == FNR { exists[$0] = 1; path = $0; while (sub(/\/[^\/]*$/, "", path)) exists[path] = 1; next }

/^ *```/ { fenced = !fenced }
fenced { next }

pass[FILENAME] == 1 && /^#+ / { sub(/^#+ +/, ""); heading[FILENAME, anchor_of($0)] = 1 }

pass[FILENAME] == 2 {
  gsub(/`[^`]*`/, "")
  while (match($0, /\]\([^) ]+\)/)) {
    link = substr($0, RSTART + 2, RLENGTH - 3)
    $0 = substr($0, RSTART + RLENGTH)
    if (link !~ /^[a-z]+:/) check(link)
  }
}

END { exit failed }
