#pragma once
/// @file error.hpp
/// The library's exceptions. Every message says what was wrong, where, and what to do about it.

#include <rearm/core/macros.hpp>

#include <initializer_list>
#include <locale>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

namespace rearm::REARM_ABI {

/// Base of everything the library throws on purpose.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Operands whose shapes do not match; the message names both shapes.
struct ShapeError : Error {
  using Error::Error;
};
/// Input data that is wrong: ids out of range, NaN features, an empty split; names the file and the value.
struct DataError : Error {
  using Error::Error;
};
/// A setting, or a combination of settings, that is not allowed; names the field and its value.
struct ConfigError : Error {
  using Error::Error;
};
/// A file that cannot be read or written; names the path and, where there is one, the byte offset.
struct IoError : Error {
  using Error::Error;
};
/// A value that is no longer finite (NaN or infinity in a loss or a gradient).
struct NumericError : Error {
  using Error::Error;
};
/// Memory that the system, or a limit of the process, does not give; says how much was asked for where that is known.
struct OutOfMemoryError : Error {
  using Error::Error;
};
/// A device, or a library on it, that reported an error; names the call, its code and the text.
struct DeviceError : Error {
  using Error::Error;
};

namespace detail {

/// A value that can be printed, whatever its type; it must outlive this.
class Printable {
 public:
  template <class T>
  explicit Printable(const T& value)
      : value_(&value), print_([](std::ostream& out, const void* x) { out << *static_cast<const T*>(x); }) {}
  void print(std::ostream& out) const { print_(out, value_); }

 private:
  const void* value_;
  void (*print_)(std::ostream&, const void*);
};

inline std::string joined(std::initializer_list<Printable> values) {
  std::ostringstream out;
  out.exceptions(std::ios::badbit);  // half a name is worse than none
  out.imbue(std::locale::classic());
  for (const Printable& value : values) value.print(out);
  return out.str();
}

/// Joins its arguments with operator<< into one text: a message, the name of a file or a metric. It ignores the
/// program's global locale, so a thousand is 1000. Arguments by value: literals of any length are then one type.
template <class... Args>
std::string message(Args... args) {
  return joined({Printable(args)...});
}

[[noreturn]] inline void throw_out_of_memory(const char* doing) {
  throw OutOfMemoryError(message("out of memory: ", doing, "; make it smaller, or give the process more"));
}
/// f(); where a container of the standard library gets no memory, an OutOfMemoryError that says what was being done.
template <class F>
decltype(auto) with_memory_errors(const char* doing, const F& f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    throw_out_of_memory(doing);
  }
}

}  // namespace detail
}  // namespace rearm::REARM_ABI
