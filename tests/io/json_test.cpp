#include <rearm/core/error.hpp>
#include <rearm/io/json.hpp>

#include <doctest/doctest.h>

#include <string>

namespace io_json_test {

TEST_CASE("JSON may be nested 64 levels deep, whatever is in the last") {
  // {"a":[[...inner...]]}: an object and n - 1 arrays
  const auto nested = [](int n, const std::string& inner) {
    const auto times = static_cast<std::size_t>(n - 1);
    return "{\"a\":" + std::string(times, '[') + inner + std::string(times, ']') + "}";
  };
  for (const char* inner : {"", "1", "\"x\", null"}) {
    CHECK(rearm::parse_json_object(nested(64, inner), "file").size() == 1);
    CHECK_THROWS_WITH_AS(rearm::parse_json_object(nested(65, inner), "file"),
                         "file nests more than 64 arrays and objects", rearm::DataError);
  }
  CHECK(rearm::parse_json_object(nested(63, "{}"), "file").size() == 1);
  CHECK_THROWS_AS(rearm::parse_json_object(nested(64, "{}"), "file"), rearm::DataError);
}

}  // namespace io_json_test
