#!/bin/sh
# self_check.sh FOLDER: rooms.sh accepts a tree that keeps to its page, and refuses one change at a time. FOLDER is written over.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
work=$1 failed=0

# A tree of three rooms, one within another, with one exception.
tree() {
  rm -rf "$work"
  mkdir -p "$work/include/rearm/low" "$work/include/rearm/high/inner" "$work/include/rearm/high/part"
  cd -- "$work"
  header rearm.hpp high/use.hpp
  header version.hpp
  header low/base.hpp high/odd.hpp version.hpp
  header high/odd.hpp
  header high/use.hpp low/base.hpp high/part/piece.hpp
  header high/part/piece.hpp high/odd.hpp
  header high/inner/own.hpp low/base.hpp high/odd.hpp
  cat >rooms.md <<'END'
# Exceptions and rooms in a page
## Exceptions
| file | includes | why |
|---|---|---|
| `low/base.hpp` | `high/odd.hpp` | odd |
## Rows
| folder | holds | may include |
|---|---|---|
| `low` | `nothing` of note | |
| `high` | what is high | `low` |
| `high/inner` | more | `low`, `high/odd.hpp` |
END
}
header() { # header FILE [INCLUDED...]
  file=$1
  shift
  {
    echo '#pragma once'
    for included; do echo "#include <rearm/$included>"; done
  } >"include/rearm/$file"
}
# expect CASE [LINE]: the tree is refused with that line among others, or accepted without one.
expect() {
  status=0
  output=$(sh "$here/rooms.sh" "$work/rooms.md" "$work/include") || status=$?
  if [ $# -eq 1 ] && [ "$status" -eq 0 ] && [ -z "$output" ]; then return; fi
  if [ $# -eq 2 ] && [ "$status" -ne 0 ] && printf '%s\n' "$output" | grep -qF -- "$2"; then return; fi
  printf 'FAILED: %s: status %s, expected: %s, printed:\n%s\n' "$1" "$status" "${2-nothing}" "$output"
  failed=1
}

tree
expect 'a tree that keeps to its page'

tree
header low/more.hpp low/base.hpp high/use.hpp
expect 'an include upwards' "include/rearm/low/more.hpp:3: low may not include high/use.hpp: "

tree
header high/inner/own.hpp high/use.hpp
expect 'another file than the row names' "include/rearm/high/inner/own.hpp:2: high/inner may not include high/use.hpp: "

tree
header high/part/piece.hpp high/inner/own.hpp
expect 'a folder with a row of its own' "include/rearm/high/part/piece.hpp:2: high may not include high/inner/own.hpp: "

tree
header low/more.hpp rearm.hpp
expect 'everything at once' "include/rearm/low/more.hpp:2: low/more.hpp includes rearm.hpp"

tree
printf '#pragma once\n  #  include "../high/use.hpp"\n' >include/rearm/low/more.hpp
expect 'an include that hides its room' "include/rearm/low/more.hpp:2: include in quotation marks"

tree
sed -i 's/of note | |/of note | `high` |/' rooms.md
expect 'a circle' "rooms.md:9: low may include high, which stands no higher in the table: "

tree
sed -i 's/| `low` |$/| `low`, `high\/inner` |/' rooms.md
expect 'a circle within a folder' "rooms.md:10: high may include high/inner, which stands no higher in the table: "

tree
header low/base.hpp
expect 'an exception that does not occur' "rooms.md:5: low/base.hpp needs no exception for high/odd.hpp: strike it"

tree
sed -i '5a| `high/use.hpp` | `low/base.hpp` | allowed |' rooms.md
expect 'an exception that is allowed' "rooms.md:6: high/use.hpp needs no exception for low/base.hpp: strike it"

tree
sed -i 's/`high\/odd.hpp` |$/`high\/gone.hpp` |/' rooms.md
expect 'a file that is gone' "rooms.md:11: high/gone.hpp is not there: strike it"

tree
mkdir include/rearm/new
header new/thing.hpp
expect 'a folder without a row' "include/rearm/new/thing.hpp: its folder has no row in "

tree
echo 'namespace rearm::REARM_ABI::low {' >>include/rearm/low/base.hpp
expect 'a namespace that tells builds apart'

tree
echo 'namespace rearm::low {' >>include/rearm/low/base.hpp
expect 'a namespace of all builds' "include/rearm/low/base.hpp:4: a namespace that differently compiled objects share: "

tree
rm rooms.md
expect 'no page' 'no table of rooms'

exit "$failed"
