#include <rearm/train/early_stopping.hpp>

#include <doctest/doctest.h>

#include <limits>

namespace train_early_stopping_test {

TEST_CASE("early stopping stops at the (patience + 1)-th epoch without a strict improvement") {
  rearm::EarlyStopping stopping(2);
  CHECK(stopping.best_epoch() == -1);
  CHECK(stopping.update(0, 0.1));
  CHECK_FALSE(stopping.update(1, 0.1));  // equal is no improvement
  CHECK_FALSE(stopping.update(2, 0.05));
  CHECK_FALSE(stopping.should_stop());
  CHECK(stopping.update(3, 0.2));  // the count starts anew
  for (int epoch = 4; epoch < 6; ++epoch) {
    CHECK_FALSE(stopping.update(epoch, 0.2));
    CHECK_FALSE(stopping.should_stop());
  }
  CHECK_FALSE(stopping.update(6, 0.19));
  CHECK(stopping.should_stop());
  CHECK(stopping.best_epoch() == 3);
  CHECK(stopping.best_value() == 0.2);
}

TEST_CASE("patience 0 stops at the first epoch that does not improve; a first value of 0 is an improvement") {
  rearm::EarlyStopping stopping(0);
  CHECK(stopping.update(0, 0.0));
  CHECK_FALSE(stopping.should_stop());
  CHECK_FALSE(stopping.update(1, 0.0));
  CHECK(stopping.should_stop());
}

TEST_CASE("rounding hides improvements below the fourth decimal") {
  rearm::EarlyStopping exact(20), rounded(20, true);
  CHECK(exact.update(0, 0.12341));
  CHECK(rounded.update(0, 0.12341));
  CHECK(exact.update(1, 0.12344));
  CHECK_FALSE(rounded.update(1, 0.12344));
  CHECK(rounded.update(2, 0.12346));
  CHECK(rounded.best_value() == doctest::Approx(0.1235).epsilon(1e-12));
}

TEST_CASE("early stopping continues from its state") {
  rearm::EarlyStopping whole(3), first(3);
  const double values[] = {0.3, 0.1, 0.35, 0.2, 0.35, 0.1, 0.0};
  for (int epoch = 0; epoch < 4; ++epoch) {
    whole.update(epoch, values[epoch]);
    first.update(epoch, values[epoch]);
  }
  rearm::EarlyStopping second(3, false, first.state());
  for (int epoch = 4; epoch < 7; ++epoch) {
    CHECK(whole.update(epoch, values[epoch]) == second.update(epoch, values[epoch]));
    CHECK(whole.should_stop() == second.should_stop());
  }
  CHECK(second.should_stop());
  CHECK(whole.state() == second.state());
}

TEST_CASE("early stopping refuses negative patience and values that are no numbers") {
  CHECK_THROWS_AS(rearm::EarlyStopping(-1), rearm::ConfigError);
  rearm::EarlyStopping stopping(1);
  CHECK_THROWS_AS(stopping.update(0, std::numeric_limits<double>::quiet_NaN()), rearm::NumericError);
}

}  // namespace train_early_stopping_test
