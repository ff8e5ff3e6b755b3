#include "twotower/retrieval/check_top_k.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace twotower;
using namespace twotower::retrieval;

TEST_CASE("check_top_k: sizes, filters and scores that could overflow") {
  Matrix<float> queries = Matrix<float>::Ones(3, 4), scores(3, 2);
  Matrix<Row> rows(3, 2);
  const Threads threads(1);
  const auto check = [&](Index width, float largest, Index k, const Filters& filters = {}) {
    check_top_k(10, width, largest, queries, k, filters, threads, rows, scores);
  };
  CHECK_NOTHROW(check(4, 1, 2));
  CHECK_THROWS_WITH(check(4, 1, 0), "top_k: k is 0, but must be at least 1");
  CHECK_THROWS_WITH(check(5, 1, 2), "top_k: the width of queries is 4, but must equal the width of the items, which is 5");
  CHECK_THROWS_WITH(check(4, 1, 3), "top_k: the width of the result rows is 2, but must equal k, which is 3");
  const std::vector<std::uint8_t> mask(9, 1);
  Filters filters;
  filters.allowed = mask;
  CHECK_THROWS_WITH(check(4, 1, 2, filters), "top_k: the size of allowed is 9, but must equal the number of items, which is 10");
  CHECK_THROWS_WITH(check(4, 3e38f, 2),
                    "top_k: the largest possible score is 1.2e+39, but must be at most 1.70141e+38; scale queries or items down");
  queries(1, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(check(4, 1, 2), "top_k: queries[1, 0] is nan, but must be a finite number");
}
