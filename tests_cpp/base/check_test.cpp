#include "twotower/base/check.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace twotower;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
using Floats = std::vector<float>;
using RowList = std::vector<Row>;
using Offsets = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("check: fail and fail_numerically throw their kinds and name the function") {
  CHECK_THROWS_AS(fail("top_k", "no queries"), std::invalid_argument);
  CHECK_THROWS_WITH(fail("top_k", "no queries"), "top_k: no queries");
  CHECK_THROWS_AS(fail_numerically("Trainer", "the loss is nan"), NumericalError);
  CHECK_THROWS_WITH(fail_numerically("Trainer", "the loss is nan"), "Trainer: the loss is nan");
}

TEST_CASE("check: numbers are shown with six digits, a nan without its sign") {
  CHECK(shown(0.01) == "0.01");
  CHECK(shown(1e-8) == "1e-08");
  CHECK(shown(-3) == "-3");
  CHECK(shown(kInfinity) == "inf");
  CHECK(shown(-kInfinity) == "-inf");
  CHECK(shown(std::copysign(kNaN, -1.0F)) == "nan");
}

TEST_CASE("check_at_least: the minimum passes, less is a sentence") {
  CHECK_NOTHROW(check_at_least("top_k", "k", 1, 1));
  CHECK_THROWS_AS(check_at_least("top_k", "k", 0, 1), std::invalid_argument);
  CHECK_THROWS_WITH(check_at_least("top_k", "k", 0, 1), "top_k: k is 0, but must be at least 1");
  CHECK_THROWS_WITH(check_at_least("top_k", "k", -7, 2), "top_k: k is -7, but must be at least 2");
}

TEST_CASE("check_positive: zero, negative, infinite and nan are refused") {
  CHECK_NOTHROW(check_positive("Adam", "epsilon", std::numeric_limits<double>::denorm_min()));
  CHECK_THROWS_AS(check_positive("Adam", "epsilon", 0), std::invalid_argument);
  CHECK_THROWS_WITH(check_positive("Adam", "epsilon", 0), "Adam: epsilon is 0, but must be a finite number above 0");
  CHECK_THROWS_WITH(check_positive("Adam", "epsilon", -1), "Adam: epsilon is -1, but must be a finite number above 0");
  CHECK_THROWS_WITH(check_positive("Adam", "epsilon", kInfinity), "Adam: epsilon is inf, but must be a finite number above 0");
  CHECK_THROWS_WITH(check_positive("Adam", "epsilon", -kNaN), "Adam: epsilon is nan, but must be a finite number above 0");
}

TEST_CASE("check_in_range: both ends belong to it, nan does not") {
  CHECK_NOTHROW(check_in_range("Schedule", "final_share", 0, 0, 1));
  CHECK_NOTHROW(check_in_range("Schedule", "final_share", 1, 0, 1));
  CHECK_THROWS_AS(check_in_range("Schedule", "final_share", 2, 0, 1), std::invalid_argument);
  CHECK_THROWS_WITH(check_in_range("Schedule", "final_share", 2, 0, 1), "Schedule: final_share is 2, but must be in [0, 1]");
  CHECK_THROWS_WITH(check_in_range("Schedule", "final_share", -0.25, 0, 1),
                    "Schedule: final_share is -0.25, but must be in [0, 1]");
  CHECK_THROWS_WITH(check_in_range("Schedule", "final_share", kNaN, 0, 1), "Schedule: final_share is nan, but must be in [0, 1]");
}

TEST_CASE("check_size: names both sides") {
  CHECK_NOTHROW(check_size("top_k", "queries width", 4, "items width", 4));
  CHECK_THROWS_AS(check_size("top_k", "queries width", 3, "items width", 4), std::invalid_argument);
  CHECK_THROWS_WITH(check_size("top_k", "queries width", 3, "items width", 4),
                    "top_k: queries width is 3, but must equal items width, which is 4");
}

TEST_CASE("check_finite: names the first entry that is not") {
  CHECK_NOTHROW(check_finite("Interactions", "weights", Floats{}));
  CHECK_NOTHROW(check_finite("Interactions", "weights", Floats{0, -1, std::numeric_limits<float>::max()}));
  CHECK_THROWS_AS(check_finite("Interactions", "weights", Floats{kNaN}), std::invalid_argument);
  CHECK_THROWS_WITH(check_finite("Interactions", "weights", Floats{1, 2, kNaN, kInfinity}),
                    "Interactions: weights[2] is nan, but must be a finite number");
  CHECK_THROWS_WITH(check_finite("Interactions", "weights", Floats{-kInfinity}),
                    "Interactions: weights[0] is -inf, but must be a finite number");
}

TEST_CASE("check_not_infinite: nan passes, for it means missing") {
  CHECK_NOTHROW(check_not_infinite("FeatureTable", "values", Floats{kNaN, 1}));
  CHECK_THROWS_AS(check_not_infinite("FeatureTable", "values", Floats{kInfinity}), std::invalid_argument);
  CHECK_THROWS_WITH(check_not_infinite("FeatureTable", "values", Floats{kNaN, kInfinity}),
                    "FeatureTable: values[1] is inf, but must be a finite number or nan, which means missing");
}

TEST_CASE("check_not_negative: zero of either sign passes") {
  CHECK_NOTHROW(check_not_negative("Interactions", "weights", Floats{0, -0.0F, 3}));
  CHECK_THROWS_AS(check_not_negative("Interactions", "weights", Floats{-1}), std::invalid_argument);
  CHECK_THROWS_WITH(check_not_negative("Interactions", "weights", Floats{0, -0.5F}),
                    "Interactions: weights[1] is -0.5, but must not be negative");
}

TEST_CASE("check_rows: out_of_range with position, value and bound") {
  CHECK_NOTHROW(check_rows("top_k", "item_rows", RowList{0, 79}, 80));
  CHECK_NOTHROW(check_rows("top_k", "item_rows", RowList{}, 0));
  CHECK_THROWS_AS(check_rows("top_k", "item_rows", RowList{80}, 80), std::out_of_range);
  CHECK_THROWS_WITH(check_rows("top_k", "item_rows", RowList{0, 90}, 80), "top_k: item_rows[1] is 90, but must be in [0, 80)");
  CHECK_THROWS_WITH(check_rows("top_k", "item_rows", RowList{-1}, 80), "top_k: item_rows[0] is -1, but must be in [0, 80)");
}

TEST_CASE("check_offsets: run from 0 to the end and never back") {
  CHECK_NOTHROW(check_offsets("Bag", "offsets", Offsets{0}, 0));
  CHECK_NOTHROW(check_offsets("Bag", "offsets", Offsets{0, 2, 2, 5}, 5));
  CHECK_THROWS_AS(check_offsets("Bag", "offsets", Offsets{}, 0), std::invalid_argument);
  CHECK_THROWS_WITH(check_offsets("Bag", "offsets", Offsets{}, 0),
                    "Bag: offsets runs from nothing to nothing, but must run from 0 to 0");
  CHECK_THROWS_WITH(check_offsets("Bag", "offsets", Offsets{1, 5}, 5), "Bag: offsets runs from 1 to 5, but must run from 0 to 5");
  CHECK_THROWS_WITH(check_offsets("Bag", "offsets", Offsets{0, 4}, 5), "Bag: offsets runs from 0 to 4, but must run from 0 to 5");
  CHECK_THROWS_WITH(check_offsets("Bag", "offsets", Offsets{0, 4, 2, 5}, 5),
                    "Bag: offsets[2] is 2, but must not be below offsets[1], which is 4");
}
