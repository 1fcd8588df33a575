#!/bin/sh
# rooms.sh TABLE INCLUDE: fails on every include below INCLUDE/rearm that the page TABLE (docs/rooms.md) does not allow, on rows
# that would let folders include each other in a circle, and on exceptions that are none any more; and on headers that open the
# namespace without what tells builds apart.
set -eu
table=$1 include=$2
cd -- "$include"
grep -rnE '^[[:space:]]*(#|namespace rearm)' --include='*.hpp' --include='*.cuh' rearm | LC_ALL=C sort -t : -k 1,1 -k 2,2n |
  awk -v page="$table" -v include="$include" '
    function fail(where, what, remedy) { printf "%s: %s: %s\n", where, what, remedy; failed = 1 }
    # The row of a path: its own folder, or the nearest above that has one.
    function row_of(path) {
      while (sub("/[^/]*$", "", path)) if (path in line_of) return path
      return ""
    }
    # Names in backticks of one cell of a table, from names[1] on; how many.
    function names_of(cell, names,   n, parts, i, count) {
      n = split(cell, parts, "`")
      for (i = 2; i <= n; i += 2) names[++count] = parts[i]
      return count + 0
    }
    function read_page(   text, line, section, cells, names, n, i, status) {
      while ((status = (getline text < page)) > 0) {
        ++line
        if (text ~ /^## /) section = text
        if (text !~ /^\| *`/) continue
        split(text, cells, "|")
        split("", names)
        if (section ~ /^## Exceptions/) {
          names_of(cells[2], names)
          i = names[1]
          split("", names)
          names_of(cells[3], names)
          exception_at[i " " names[1]] = line
          continue
        }
        names_of(cells[2], names)
        i = names[1]
        if (i in line_of) fail(page ":" line, i " has two rows", "leave one")
        line_of[i] = line
        order[++n_rows] = i
        granted[i] = cells[4]
      }
      if (status < 0 || !n_rows) { fail(page, "no table of rooms", "give the page that has it"); exit }
    }
    function check_rows(   r, row, names, n, i, target) {
      for (r = 1; r <= n_rows; ++r) {
        row = order[r]
        split("", names)
        n = names_of(granted[row], names)
        for (i = 1; i <= n; ++i) {
          allowed[row, ++n_allowed[row]] = names[i]
          target = names[i]
          if (target ~ /\.(hpp|cuh)$/) {
            if ((getline < ("rearm/" target)) < 0) fail(page ":" line_of[row], target " is not there", "strike it")
            close("rearm/" target)
            target = row_of(target)
          }
          if (!(target in line_of)) fail(page ":" line_of[row], names[i] " has no row", "name a row of the table")
          else if (line_of[target] >= line_of[row])
            fail(page ":" line_of[row], row " may include " names[i] ", which stands no higher in the table",
                 "folders could include each other in a circle; strike the name, or move the row below " target)
        }
      }
    }
    function may(row, target,   i, name) {
      if (row_of(target) == row) return 1
      for (i = 1; i <= n_allowed[row]; ++i) {
        name = allowed[row, i]
        if (name == target || name == row_of(target)) return 1
      }
      return 0
    }
    BEGIN { read_page(); check_rows() }
    {
      split($0, at, ":")
      file = substr(at[1], 7) # without rearm/
      where = include "/" at[1] ":" at[2]
      text = substr($0, length(at[1] at[2]) + 3)
      if (text ~ /^[[:space:]]*namespace/) {
        if (text !~ /^namespace rearm::REARM_ABI[: ]/)
          fail(where, "a namespace that differently compiled objects share", "write namespace rearm::REARM_ABI (core/macros.hpp)")
        next
      }
      if (file !~ "/") next # the headers at the top
      row = row_of(file)
      if (row == "") {
        if (!(file in reported)) fail(include "/" at[1], "its folder has no row in " page, "give it one, or move the file")
        reported[file] = 1
        next
      }
      if (text ~ /^[[:space:]]*#[[:space:]]*include[[:space:]]*"/) {
        fail(where, "include in quotation marks", "write #include <rearm/...>, so that rooms can be told")
        next
      }
      if (text !~ /^[[:space:]]*#[[:space:]]*include[[:space:]]*<rearm\//) next
      target = text
      sub(/^[^<]*<rearm\//, "", target)
      sub(/>.*/, "", target)
      if (target == "version.hpp" || target == "fwd.hpp") next
      if (target !~ "/") {
        fail(where, file " includes " target ", which includes everything", "include the headers that are used")
        next
      }
      key = file " " target
      if (may(row, target)) next
      if (key in exception_at) { needed[key] = 1; next }
      fail(where, row " may not include " target,
           "move what is used to a room that both may include (" page ":" line_of[row] "); an arrow points down")
    }
    END {
      if (!NR) fail(include "/rearm", "no headers", "give the folder that has them")
      for (key in exception_at) if (!(key in needed)) {
        split(key, at, " ")
        fail(page ":" exception_at[key], at[1] " needs no exception for " at[2], "strike it")
      }
      exit failed
    }'
