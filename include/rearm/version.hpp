#pragma once
/// @file version.hpp
/// The library's version, in this one place: CMake reads it from here. CONTRIBUTING.md says how a release is made.

#define REARM_VERSION_MAJOR 0
#define REARM_VERSION_MINOR 2
#define REARM_VERSION_PATCH 0
#define REARM_VERSION_STRING "0.2.0"
