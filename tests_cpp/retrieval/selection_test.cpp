#include "twotower/retrieval/selection.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using namespace twotower::retrieval;

TEST_CASE("best_from: the k-th largest, over sizes, ties and the whole range of numbers") {
  const Index count = GENERATE(1, 2, 17, 300), different = GENERATE(1, 3, 4000);
  RandomStream random(3, Purpose::kTest);
  std::vector<std::int32_t> values;
  for (Index i = 0; i < count; ++i) {
    const auto step = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(different)));
    values.push_back(static_cast<std::int32_t>(std::numeric_limits<std::int32_t>::max() - step * 1000000));
  }
  std::vector<std::int32_t> sorted = values;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (Index k = 1; k <= count; k += 1 + count / 10) {
    const std::int32_t kth = sorted[static_cast<std::size_t>(k - 1)];
    const BestFrom exact = best_from(values.data(), count, k, 0, std::numeric_limits<std::int32_t>::min());
    CHECK(exact.found == count_from(values.data(), count, exact.least));
    CHECK(exact.found >= k);
    CHECK(exact.least <= kth);
    if (exact.found > k) CHECK(exact.least == kth);
    const BestFrom loose = best_from(values.data(), count, k, 5, std::numeric_limits<std::int32_t>::min());
    CHECK(loose.found >= k);
    CHECK((loose.found <= k + 5 || loose.least == kth));
  }
}
