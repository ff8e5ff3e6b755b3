#include "twotower/data/feature_table.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"

using twotower::Row;
using twotower::data::Bags;
using twotower::data::Codes;
using twotower::data::FeatureTable;
using twotower::data::Numbers;

namespace {

using Floats = std::vector<float>;
using RowList = std::vector<Row>;
using Offsets = std::vector<std::int64_t>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("FeatureTable: columns are numbered in the order of adding and keep what they got") {
  FeatureTable table(3);
  CHECK(table.rows() == 3);
  CHECK(table.columns() == 0);
  CHECK(table.add_codes(RowList{0, 4, 2}, 5) == 0);
  CHECK(table.add_bags(Offsets{0, 2, 2, 3}, RowList{1, 1, 0}, Floats{1, 0, 2.5F}, 2) == 1);
  CHECK(table.add_bags(Offsets{0, 0, 0, 0}, RowList{}, std::nullopt, 2) == 2);
  CHECK(table.add_numbers(Floats{1, kNaN, -3}) == 3);
  CHECK(table.columns() == 4);

  const auto& codes = std::get<Codes>(table.column(0));
  CHECK(codes.codes == RowList{0, 4, 2});
  CHECK(codes.vocabulary == 5);
  const auto& bags = std::get<Bags>(table.column(1));
  CHECK(bags.offsets == Offsets{0, 2, 2, 3});
  CHECK(bags.codes == RowList{1, 1, 0});
  CHECK(bags.weights == Floats{1, 0, 2.5F});
  CHECK(bags.vocabulary == 2);
  CHECK(std::get<Bags>(table.column(2)).weights.empty());
  CHECK(std::isnan(std::get<Numbers>(table.column(3)).values[1]));
}

TEST_CASE("FeatureTable: owns its columns, the caller may change his arrays afterwards") {
  FeatureTable table(2);
  RowList codes{1, 0};
  table.add_codes(codes, 2);
  codes[0] = 0;
  CHECK(std::get<Codes>(table.column(0)).codes == RowList{1, 0});
}

TEST_CASE("FeatureTable: a column that is refused is not added") {
  FeatureTable table(2);
  CHECK_THROWS(table.add_codes(RowList{0, 9}, 2));
  CHECK(table.columns() == 0);
  CHECK(table.add_numbers(Floats{0, 1}) == 0);
}

TEST_CASE("FeatureTable: refuses sizes and codes that do not fit") {
  FeatureTable table(2);
  CHECK_THROWS_WITH(FeatureTable(0), "FeatureTable: rows is 0, but must be at least 1");
  CHECK_THROWS_WITH(table.add_codes(RowList{0}, 2), "FeatureTable: size of codes is 1, but must equal rows, which is 2");
  CHECK_THROWS_WITH(table.add_codes(RowList{0, 2}, 2), "FeatureTable: codes[1] is 2, but must be in [0, 2)");
  CHECK_THROWS_WITH(table.add_codes(RowList{-1, 0}, 2), "FeatureTable: codes[0] is -1, but must be in [0, 2)");
  CHECK_THROWS_AS(table.add_codes(RowList{0, 2}, 2), std::out_of_range);
  CHECK_THROWS_WITH(table.add_numbers(Floats{0}), "FeatureTable: size of values is 1, but must equal rows, which is 2");
}

TEST_CASE("FeatureTable: refuses bags whose offsets, codes or weights do not fit") {
  FeatureTable table(2);
  const auto add = [&](const Offsets& offsets, const RowList& codes, const Floats& weights) {
    table.add_bags(offsets, codes, weights, 2);
  };
  CHECK_THROWS_WITH(add({0, 1}, {0}, {1}), "FeatureTable: size of offsets is 2, but must equal rows + 1, which is 3");
  CHECK_THROWS_WITH(add({0, 1, 2}, {0}, {1}), "FeatureTable: offsets runs from 0 to 2, but must run from 0 to 1");
  CHECK_THROWS_WITH(add({0, 2, 1}, {0}, {1}), "FeatureTable: offsets[2] is 1, but must not be below offsets[1], which is 2");
  CHECK_THROWS_WITH(add({0, 1, 1}, {2}, {1}), "FeatureTable: codes[0] is 2, but must be in [0, 2)");
  CHECK_THROWS_WITH(add({0, 1, 1}, {0}, {}), "FeatureTable: size of weights is 0, but must equal size of codes, which is 1");
  CHECK_THROWS_WITH(add({0, 1, 1}, {0}, {kNaN}), "FeatureTable: weights[0] is nan, but must be a finite number");
  CHECK_THROWS_WITH(add({0, 1, 1}, {0}, {-0.5F}), "FeatureTable: weights[0] is -0.5, but must not be negative");
}

TEST_CASE("FeatureTable: a number may be missing, but not infinite") {
  FeatureTable table(2);
  CHECK_THROWS_WITH(table.add_numbers(Floats{kNaN, -kInfinity}),
                    "FeatureTable: values[1] is -inf, but must be a finite number or nan, which means missing");
}
