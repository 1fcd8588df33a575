#pragma once
/// @file fields.hpp
/// Settings as lists of fields. A struct of settings has one static function `fields(self, f)` that calls
///     f(Field{"batch_size", "train pairs per batch", at_least(1)}, self.batch_size);
/// for every member. Flags, files, checks, comparisons and tables of the documentation are made from that list. A
/// member may itself be such a struct: its fields then have names like `users.k`. FieldValue has the types of fields.

#include <rearm/core/error.hpp>

#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rearm::REARM_ABI {

/// The numbers that a field may hold; for a list, each of its numbers. NaN and infinities are never allowed.
struct Limits {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_is_allowed = true;

  bool allow(double x) const { return std::isfinite(x) && (low_is_allowed ? x >= low : x > low) && x <= high; }
  /// "at least 1", "1 to 1024", "above 0, at most 1"
  std::string text() const {
    const auto number = [](double x) { return detail::message(x); };
    const bool bounded = std::isfinite(high);
    if (!std::isfinite(low)) return bounded ? "at most " + number(high) : "a finite number";
    if (!low_is_allowed) return "above " + number(low) + (bounded ? ", at most " + number(high) : "");
    return bounded ? number(low) + " to " + number(high) : "at least " + number(low);
  }
};
constexpr Limits at_least(double low) { return {.low = low}; }
constexpr Limits above(double low) { return {.low = low, .low_is_allowed = false}; }
constexpr Limits above_up_to(double low, double high) { return {.low = low, .high = high, .low_is_allowed = false}; }
constexpr Limits between(double low, double high) { return {.low = low, .high = high}; }

/// Whether a resumed run may change the value.
enum class OnResume { same, may_differ };

/// What is known about a field besides its value.
struct Field {
  const char* name;
  const char* help;
  Limits limits = {};
  OnResume on_resume = OnResume::same;
};

/// Accepts any field: stands in for a visitor in concepts.
struct IgnoreField {
  template <class T>
  void operator()(const Field&, T&) const {}
};

/// A struct with a list of its fields.
template <class S>
concept FieldStruct = requires(S& s) {
  std::remove_const_t<S>::fields(s, IgnoreField{});
};

/// Calls visit(path, field, value) for every field; those of nested structs have paths like `struct.field`.
template <class S, class Visit>
requires FieldStruct<S>
void visit_fields(S& s, const Visit& visit, const std::string& prefix = {}) {
  std::remove_const_t<S>::fields(s, [&](const Field& field, auto& value) {
    if constexpr (FieldStruct<std::remove_reference_t<decltype(value)>>)
      visit_fields(value, visit, prefix + field.name + '.');
    else
      visit(prefix + field.name, field, value);
  });
}

/// Names of an enumeration's values: specialize with `static constexpr std::pair<E, std::string_view> values[]`.
template <class E>
struct EnumNames;
template <class E>
concept NamedEnum = std::is_enum_v<E> && requires {
  EnumNames<E>::values[0];
};

template <NamedEnum E>
constexpr std::string_view to_string(E value) {
  for (const auto& [candidate, name] : EnumNames<E>::values)
    if (candidate == value) return name;
  return "unknown";
}
/// Throws ConfigError naming the field and the allowed values.
template <NamedEnum E>
void parse(std::string_view field, std::string_view text, E& out) {
  std::string allowed;
  for (const auto& [value, name] : EnumNames<E>::values) {
    if (text == name) {
      out = value;
      return;
    }
    allowed += (allowed.empty() ? "" : ", ") + std::string(name);
  }
  throw ConfigError(detail::message(field, " = '", text, "': must be one of ", allowed));
}

/// A field that had another name in an earlier version: files and flags that use it still work.
struct FormerName {
  std::string_view former, now;
};
/// What a struct lists as `static constexpr FormerName former_names[]`.
template <class S>
constexpr std::span<const FormerName> former_names() {
  if constexpr (requires { S::former_names[0]; })
    return S::former_names;
  else
    return {};
}
/// `name`, or what it is called now.
constexpr std::string_view current_name(std::span<const FormerName> names, std::string_view name) {
  for (const FormerName& entry : names)
    if (entry.former == name) return entry.now;
  return name;
}

/// The value of an enumeration, by its name.
class EnumValue {
 public:
  template <NamedEnum E>
  explicit EnumValue(E& value)
      : at_(&value),
        text_([](const void* at) { return to_string(*static_cast<const E*>(at)); }),
        parse_([](void* at, std::string_view field, std::string_view text) {
          rearm::parse(field, text, *static_cast<E*>(at));
        }) {}
  std::string_view text() const { return text_(at_); }
  /// Throws ConfigError naming the field and the allowed values.
  void parse(std::string_view field, std::string_view text) const { parse_(at_, field, text); }

 private:
  void* at_;
  std::string_view (*text_)(const void*);
  void (*parse_)(void*, std::string_view, std::string_view);
};

/// Where a field's value is: the types that fields may have.
using FieldValue = std::variant<bool*, int*, std::int64_t*, std::uint64_t*, float*, double*, std::string*,
                                std::vector<int>*, std::vector<double>*, std::vector<std::string>*, EnumValue>;
/// Whether the value is a list.
inline bool is_list(const FieldValue& value) {
  return std::holds_alternative<std::vector<int>*>(value) || std::holds_alternative<std::vector<double>*>(value) ||
         std::holds_alternative<std::vector<std::string>*>(value);
}
/// A field with its type hidden, so that what works on the fields of any struct is compiled once.
struct FieldEntry {
  std::string path;
  Field field;
  FieldValue value;
};
using FieldList = std::vector<FieldEntry>;

/// The fields of `s` as visit_fields has them, `prefix` before each path. The values are those of `s`: it must outlive
/// the list, and a constant one is only to be read.
template <FieldStruct S>
FieldList list_fields(S& s, const std::string& prefix = {}) {
  FieldList out;
  visit_fields(
      const_cast<std::remove_const_t<S>&>(s),
      [&](const std::string& path, const Field& field, auto& value) {
        if constexpr (std::is_enum_v<std::remove_reference_t<decltype(value)>>)
          out.push_back({path, field, EnumValue(value)});
        else
          out.push_back({path, field, &value});
      },
      prefix);
  return out;
}

namespace detail {
template <class T>
void require_config(bool ok, std::string_view field, const T& value, std::string_view rule) {
  if (!ok) throw ConfigError(message(field, " = ", value, ": must be ", rule));
}
}  // namespace detail

/// Throws ConfigError naming the first field that is out of range.
inline void check_limits(const FieldList& fields) {
  for (const FieldEntry& entry : fields) {
    const auto check = [&](double x) {
      detail::require_config(entry.field.limits.allow(x), entry.path, x, entry.field.limits.text());
    };
    std::visit(
        [&](const auto& at) {
          using T = std::remove_cvref_t<decltype(at)>;
          if constexpr (std::same_as<T, std::vector<double>*> || std::same_as<T, std::vector<int>*>) {
            for (const auto x : *at) check(static_cast<double>(x));
          } else if constexpr (!std::same_as<T, EnumValue>) {
            using Value = std::remove_pointer_t<T>;
            if constexpr (std::is_arithmetic_v<Value> && !std::same_as<Value, bool>) check(static_cast<double>(*at));
          }
        },
        entry.value);
  }
}
template <FieldStruct S>
void check_limits(const S& s) {
  check_limits(list_fields(s));
}

}  // namespace rearm::REARM_ABI
