#include "twotower/retrieval/exclusions.hpp"

#include <stdexcept>
#include <vector>

#include "support/catch.hpp"

using namespace twotower;
using namespace twotower::retrieval;

namespace {

struct Owned {
  std::vector<Row> list_of_query{1, -1, 0, 1};
  std::vector<std::int64_t> offsets{0, 2, 5, 5};
  std::vector<Row> items{3, 9, 0, 4, 4};

  ItemLists view() const { return {list_of_query, offsets, items}; }
  void check(Index queries = 4) const { check_lists("top_k", "seen", view(), queries, 10, Threads(2)); }
};

}  // namespace

TEST_CASE("ItemLists: queries may share a list, or have none") {
  const Owned seen;
  CHECK_NOTHROW(seen.check());
  CHECK(seen.view().of(0).size() == 3);
  CHECK(seen.view().of(0).data() == seen.items.data() + 2);
  CHECK(seen.view().of(1).empty());
  CHECK(seen.view().has(0));
  CHECK_FALSE(seen.view().has(1));
  CHECK(seen.view().of(2).size() == 2);
  CHECK(seen.view().of(3).data() == seen.view().of(0).data());
}

TEST_CASE("ItemLists: no lists at all is fine where no query asks for one") {
  Owned seen;
  seen.offsets.clear();
  seen.items.clear();
  seen.list_of_query = {-1, -5};
  CHECK_NOTHROW(seen.check(2));
  seen.list_of_query = {};
  CHECK_NOTHROW(seen.check(0));
}

TEST_CASE("ItemLists: a mistake is named") {
  Owned seen;
  SECTION("sizes") {
    CHECK_THROWS_WITH(seen.check(5), "top_k: the size of seen_of_query is 4, but must equal the number of queries, which is 5");
  }
  SECTION("a list that is not there") {
    seen.list_of_query[3] = 3;
    CHECK_THROWS_WITH(seen.check(),
                      "top_k: seen_of_query[3] is 3, but must be below 3, the number of lists; give a negative number where "
                      "there is no list");
  }
  SECTION("offsets that do not fit") {
    seen.offsets[2] = 6;
    CHECK_THROWS_WITH(seen.check(),
                      "top_k: seen_offsets[2] is 6 and seen_offsets[1] is 2, but offsets must ascend from 0 to 5, the size of "
                      "seen_items");
    seen.offsets[2] = 1;
    CHECK_THROWS_WITH(seen.check(),
                      "top_k: seen_offsets[2] is 1 and seen_offsets[1] is 2, but offsets must ascend from 0 to 5, the size of "
                      "seen_items");
  }
  SECTION("items outside the catalogue") {
    seen.items[4] = 10;
    CHECK_THROWS_WITH(seen.check(), "top_k: seen_items[4] is 10, but must be in [0, 10)");
    CHECK_THROWS_AS(seen.check(), std::out_of_range);
    seen.items[2] = -1;
    CHECK_THROWS_WITH(seen.check(), "top_k: seen_items[2] is -1, but must be in [0, 10)");
  }
  SECTION("a list that is not sorted") {
    seen.items[3] = 5;
    CHECK_THROWS_WITH(seen.check(), "top_k: seen_items[4] is 4, but must not be below seen_items[3], which is 5; sort each list");
  }
  SECTION("a list that nobody uses is not looked at") {
    seen.items = {9, 3, 0, 4, 4};
    seen.list_of_query[2] = -1;
    CHECK_NOTHROW(seen.check());
  }
}

TEST_CASE("ListWalk: tells ascending rows that are not in the list, from any first row") {
  const std::vector<Row> list{2, 2, 5, 9};
  const Row first = GENERATE(0, 2, 3, 5, 9, 10);
  ListWalk walk(list, first);
  for (Row row = first; row < 12; ++row) CHECK(walk.passes(row) == (row != 2 && row != 5 && row != 9));
  ListWalk again(list, 0);
  CHECK_FALSE(again.passes(5));
  CHECK_FALSE(again.passes(5));
  ListWalk nothing;
  CHECK(nothing.passes(0));
}

TEST_CASE("Exclusions: what is seen and what is denied, each for its query") {
  const Owned seen;
  const std::vector<Row> of_query{0, 0, 0, -1}, denied{4, 7};
  const std::vector<std::int64_t> offsets{0, 2};
  Filters filters;
  CHECK(Exclusions(filters, 0, 0).pass(0));
  filters.seen = seen.view();
  filters.denied = ItemLists{of_query, offsets, denied};
  const auto passed = [&](Index query) {
    Exclusions exclusions(filters, query, 0);
    std::vector<Row> rows;
    for (Row row = 0; row < 10; ++row)
      if (exclusions.pass(row)) rows.push_back(row);
    return rows;
  };
  CHECK(passed(0) == std::vector<Row>{1, 2, 3, 5, 6, 8, 9});
  CHECK(passed(1) == std::vector<Row>{0, 1, 2, 3, 5, 6, 8, 9});
  CHECK(passed(2) == std::vector<Row>{0, 1, 2, 5, 6, 8});
  CHECK(passed(3) == std::vector<Row>{1, 2, 3, 5, 6, 7, 8, 9});
}

TEST_CASE("check_filters: the lists of every filter are named after it") {
  const std::vector<Row> of_query{0}, outside{10};
  const std::vector<std::int64_t> offsets{0, 1};
  const ItemLists lists{of_query, offsets, outside};
  const std::vector<std::uint8_t> mask(9, 1);
  Filters filters;
  CHECK_NOTHROW(check_filters("top_k", filters, 1, 10, Threads(1)));
  filters.listed = lists;
  CHECK_THROWS_WITH(check_filters("top_k", filters, 1, 10, Threads(1)), "top_k: allowed_items[0] is 10, but must be in [0, 10)");
  filters.denied = lists;
  CHECK_THROWS_WITH(check_filters("top_k", filters, 1, 10, Threads(1)), "top_k: denied_items[0] is 10, but must be in [0, 10)");
  CHECK_THROWS_WITH(check_filters("top_k", filters, 2, 11, Threads(1)),
                    "top_k: the size of denied_of_query is 1, but must equal the number of queries, which is 2");
  filters.seen = lists;
  CHECK_THROWS_WITH(check_filters("top_k", filters, 1, 10, Threads(1)), "top_k: seen_items[0] is 10, but must be in [0, 10)");
  filters.allowed = mask;
  CHECK_THROWS_WITH(check_filters("top_k", filters, 1, 10, Threads(1)),
                    "top_k: the size of allowed is 9, but must equal the number of items, which is 10");
}
