#include "twotower/data/histories.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace twotower;
using data::Histories;
using data::ItemLists;

namespace {

const std::vector<std::int64_t> kOffsets{0, 3, 3, 5};
const std::vector<Row> kItems{7, 8, 9, 1, 2};
const std::vector<float> kWeights{1, 2, 3, 4, 5};

}  // namespace

TEST_CASE("Histories: the newest items of each list, one reader a row, in any order and again") {
  Histories histories;
  histories.assign({kOffsets, kItems, kWeights}, std::vector<Row>{2, 0, 1, 0}, 2);
  CHECK(histories.items == std::vector<Row>{1, 2, 8, 9, 8, 9});
  CHECK(histories.weights == std::vector<float>{4, 5, 2, 3, 2, 3});
  CHECK(histories.offsets == std::vector<std::int64_t>{0, 2, 4, 4, 6});
  CHECK(histories.readers == std::vector<std::int64_t>{0, 1, 2, 3, 4});
  CHECK(histories.lengths == std::vector<std::int32_t>{2, 2, 0, 2});
}

TEST_CASE("Histories: without weights there are none; what was there before is gone") {
  Histories histories;
  histories.assign({kOffsets, kItems, kWeights}, std::vector<Row>{0}, 2);
  histories.assign({kOffsets, kItems, {}}, std::vector<Row>{0}, std::numeric_limits<Index>::max());
  CHECK(histories.items == std::vector<Row>{7, 8, 9});
  CHECK(histories.weights.empty());
  histories.assign({kOffsets, kItems, {}}, {}, 2);
  CHECK(histories.lengths.empty());
  CHECK(histories.offsets == std::vector<std::int64_t>{0});
}

TEST_CASE("Histories: a part has the readers of its rows") {
  Histories whole, part, wanted;
  const std::vector<Row> rows{2, 0, 1, 0};
  whole.assign({kOffsets, kItems, kWeights}, rows, 2);
  part.assign_part(whole, 1, 2);
  wanted.assign({kOffsets, kItems, kWeights}, std::vector<Row>{0, 1}, 2);
  CHECK(part.items == wanted.items);
  CHECK(part.weights == wanted.weights);
  CHECK(part.offsets == wanted.offsets);
  CHECK(part.lengths == wanted.lengths);
}

TEST_CASE("ItemLists: say what does not fit") {
  const auto check = [](const ItemLists& lists) { lists.check("caller", 3, 10); };
  CHECK_NOTHROW(check({kOffsets, kItems, kWeights}));
  CHECK_NOTHROW(check({kOffsets, kItems, {}}));
  const std::vector<std::int64_t> falling{0, 4, 3, 5};
  CHECK_THROWS_WITH(check({falling, kItems, {}}),
                    "caller: history offsets[2] is 3, but must not be below history offsets[1], which is 4");
  CHECK_THROWS_WITH(check({kOffsets, kItems, std::span(kWeights).first(2)}),
                    "caller: size of history weights is 2, but must equal size of history items, which is 5");
  const std::vector<float> negative{1, 2, -3, 4, 5};
  CHECK_THROWS_WITH(check({kOffsets, kItems, negative}), "caller: history weights[2] is -3, but must not be negative");
  const std::vector<Row> outside{7, 8, 10, 1, 2};
  CHECK_THROWS_WITH(check({kOffsets, outside, {}}), "caller: history items[2] is 10, but must be in [0, 10)");
}
