#pragma once
/// @file fuzz.hpp
/// What the fuzz targets share. A target is one source that defines `check` in a namespace of its name and stands in
/// the list of main.cpp.

#include <rearm/core/error.hpp>
#include <tests/data/folder.hpp>

#include <cstdio>
#include <cstdlib>

namespace rearm::fuzz {

/// Where targets keep their files: a folder in memory, if TMPDIR is one.
inline const test::Folder& folder() {
  static const test::Folder instance;
  return instance;
}

/// A property of what was accepted.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", property);
  std::abort();
}

/// Whether f() refuses nothing.
template <class F>
bool accepts(const F& f) {
  try {
    f();
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// f(), where nothing can be wrong any more.
template <class F>
void must(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    std::fprintf(stderr, "refused what it had accepted: %s\n", e.what());
    std::abort();
  }
}

}  // namespace rearm::fuzz
