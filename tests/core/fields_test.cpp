/// @file fields_test.cpp
/// Lists of fields: limits and their texts, names of nested structs, former names, enumerations.

#include <rearm/core/fields.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace core_fields_test {

enum class Color { red, dark_green };

}  // namespace core_fields_test

template <>
struct rearm::EnumNames<core_fields_test::Color> {
  using enum core_fields_test::Color;
  static constexpr std::pair<core_fields_test::Color, std::string_view> values[] = {{red, "red"},
                                                                                    {dark_green, "dark_green"}};
};

namespace core_fields_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::has;

struct Inner {
  int k = 3;
  std::vector<double> weights = {0.5, 0.5};

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"k", "neighbors", between(1, 9)}, c.k);
    f(Field{"weights", "of the parts", between(0, 1)}, c.weights);
  }
};

struct Middle {
  Inner inner;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"inner", "a part"}, c.inner);
  }
};

struct Outer {
  double rate = 0.1;
  Color color = Color::red;
  bool on = true;
  std::string text = "anything";
  std::uint64_t seed = 7;
  Inner first;
  Middle middle;

  template <class Self, class F>
  static void fields(Self& c, F&& f) {
    f(Field{"rate", "of learning", above(0), OnResume::may_differ}, c.rate);
    f(Field{"color", "of the house"}, c.color);
    f(Field{"on", "a switch"}, c.on);
    f(Field{"text", "words"}, c.text);
    f(Field{"seed", "of random numbers"}, c.seed);
    f(Field{"first", "a part"}, c.first);
    f(Field{"middle", "a part of parts"}, c.middle);
  }
  static constexpr FormerName former_names[] = {{"speed", "rate"}, {"old_k", "first.k"}};
};

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("limits allow what their text says, their ends included or not, and never what is not finite") {
  struct Case {
    Limits limits;
    const char* text;
    std::vector<double> allowed, refused;
  };
  const Case cases[] = {
      {{}, "a finite number", {-1e300, 0, 1e300}, {}},
      {at_least(1), "at least 1", {1, 1.5, 1e300}, {0.999, -1}},
      {above(0), "above 0", {1e-300, 1e300}, {0, -1}},
      {above_up_to(0, 1), "above 0, at most 1", {1e-9, 1}, {0, 1.0001}},
      {between(1, 1024), "1 to 1024", {1, 7, 1024}, {0, 1025}},
      {between(0, 0.5), "0 to 0.5", {0, 0.5}, {-1e-9, 0.51}},
      {{.high = 3}, "at most 3", {-1e300, 3}, {3.1}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(c.limits.text() == c.text);
    for (const double x : c.allowed) CHECK(c.limits.allow(x));
    for (const double x : c.refused) CHECK_FALSE(c.limits.allow(x));
    for (const double x : {infinity, -infinity, not_a_number}) CHECK_FALSE(c.limits.allow(x));
  }
}

TEST_CASE("every field is visited once, in its order, under the names of the structs it is in") {
  const Outer constant;
  std::vector<std::string> paths, helps;
  visit_fields(constant, [&](const std::string& path, const Field& field, const auto&) {
    paths.push_back(path);
    helps.emplace_back(field.help);
    CHECK((field.on_resume == OnResume::may_differ) == (path == "rate"));
  });
  CHECK(paths == std::vector<std::string>{"rate", "color", "on", "text", "seed", "first.k", "first.weights",
                                          "middle.inner.k", "middle.inner.weights"});
  CHECK(helps[5] == "neighbors");
  Outer changed;
  visit_fields(changed, [](const std::string& path, const Field&, auto& value) {
    if constexpr (std::is_same_v<decltype(value), int&>)
      if (path == "middle.inner.k") value = 8;
  });
  CHECK(changed.middle.inner.k == 8);
  CHECK(changed.first.k == 3);
}

TEST_CASE("a value outside its limits is refused by its whole name, of a list each number") {
  CHECK_NOTHROW(check_limits(Outer()));
  const auto refusal = [](const auto& change) {
    Outer o;
    change(o);
    return error_of<ConfigError>([&] { check_limits(o); });
  };
  CHECK(refusal([](Outer& o) { o.rate = 0; }) == "rate = 0: must be above 0");
  CHECK(has(refusal([](Outer& o) { o.rate = not_a_number; }), "rate = "));
  CHECK(has(refusal([](Outer& o) { o.rate = infinity; }), "rate = inf"));
  CHECK(refusal([](Outer& o) { o.first.k = 10; }) == "first.k = 10: must be 1 to 9");
  CHECK(refusal([](Outer& o) { o.middle.inner.k = 0; }) == "middle.inner.k = 0: must be 1 to 9");
  CHECK(refusal([](Outer& o) { o.middle.inner.weights = {0.5, 1.5}; }) == "middle.inner.weights = 1.5: must be 0 to 1");
  CHECK(refusal([](Outer& o) { o.first.weights.clear(); }).empty());
  CHECK(refusal([](Outer& o) { o.seed = std::numeric_limits<std::uint64_t>::max(); }).empty());
}

TEST_CASE("an enumeration's values have names, and a name that is none is refused with those there are") {
  CHECK(to_string(Color::red) == "red");
  CHECK(to_string(Color::dark_green) == "dark_green");
  CHECK(to_string(static_cast<Color>(9)) == "unknown");
  Color color = Color::red;
  parse("color", "dark_green", color);
  CHECK(color == Color::dark_green);
  CHECK(error_of<ConfigError>([&] { parse("color", "Red", color); }) ==
        "color = 'Red': must be one of red, dark_green");
  CHECK_THROWS_AS(parse("color", "", color), ConfigError);
  CHECK(color == Color::dark_green);
  static_assert(NamedEnum<Color>);
  static_assert(!NamedEnum<int>);
}

TEST_CASE("a former name leads to the field as it is called now, any other name to itself") {
  CHECK(current_name(former_names<Outer>(), "speed") == "rate");
  CHECK(current_name(former_names<Outer>(), "old_k") == "first.k");
  CHECK(current_name(former_names<Outer>(), "rate") == "rate");
  CHECK(current_name(former_names<Outer>(), "none") == "none");
  CHECK(current_name(former_names<Inner>(), "old_k") == "old_k");  // a struct without such names
  static_assert(FieldStruct<Outer>);
  static_assert(FieldStruct<const Outer>);
  static_assert(!FieldStruct<int>);
  static_assert(!FieldStruct<std::string>);
}

}  // namespace core_fields_test
