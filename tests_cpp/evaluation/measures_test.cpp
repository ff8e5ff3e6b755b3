#include "twotower/evaluation/measures.hpp"

#include <array>

#include "support/catch.hpp"

using namespace twotower;
using namespace twotower::evaluation;

namespace {

enum class Color { kRed, kGreen };
constexpr std::array<Named<Color>, 2> kColors{{{"red", Color::kRed}, {"green", Color::kGreen}}};

std::vector<Measure<Color>> parse(const std::vector<std::string>& names, const std::vector<Index>& cutoffs) {
  return measures_of<Color>("paint", kColors, names, cutoffs);
}

}  // namespace

TEST_CASE("measures_of: pairs names and cut-offs") {
  CHECK(parse({}, {}).empty());
  const auto measures = parse({"green", "red", "green"}, {1, 7, 3});
  CHECK(measures.size() == 3);
  CHECK(measures[0].metric == Color::kGreen);
  CHECK(measures[1].metric == Color::kRed);
  CHECK(measures[2].cutoff == 3);
  CHECK_THROWS_WITH(parse({"red"}, {1, 2}),
                    "paint: the number of cutoffs is 2, but must equal the number of metrics, which is 1");
  CHECK_THROWS_WITH(parse({"red", "gren"}, {1, 2}), "paint: metrics[1] is \"gren\", but must be one of red, green");
  CHECK_THROWS_WITH(parse({"red", "red"}, {1, 0}), "paint: cutoffs[1] is 0, but must be at least 1");
}

TEST_CASE("largest_cutoff: within the length of the lists") {
  const auto measures = parse({"green", "red"}, {4, 7});
  CHECK(largest_cutoff<Color>("paint", measures, 7) == 7);
  CHECK(largest_cutoff<Color>("paint", {}, 0) == 0);
  CHECK_THROWS_WITH(largest_cutoff<Color>("paint", measures, 6),
                    "paint: cutoffs[1] is 7, but must be at most 6, the length of the lists; rank more items");
}

TEST_CASE("check_ranked: rows, then -1") {
  Matrix<Row> ranked(2, 3);
  ranked << 5, -1, -1, 0, 5, 0;
  CHECK_NOTHROW(check_ranked("f", ranked));
  CHECK_NOTHROW(check_ranked("f", Matrix<Row>(0, 3)));
  CHECK_NOTHROW(check_ranked("f", Matrix<Row>(3, 0)));
  ranked(1, 2) = -2;
  CHECK_THROWS_WITH(check_ranked("f", ranked), "f: ranked[1, 2] is -2, but must be an item row, or -1 at the end of a list");
  ranked(0, 2) = 4;
  CHECK_THROWS_WITH(check_ranked("f", ranked), "f: ranked[0, 2] is 4 and follows -1, but -1 must end a list");
}
