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

  SeenLists view() const { return {list_of_query, offsets, items}; }
  void check(Index queries = 4) const { check_seen("top_k", view(), queries, 10, Threads(2)); }
};

}  // namespace

TEST_CASE("SeenLists: queries may share a list, or have none") {
  const Owned seen;
  CHECK_NOTHROW(seen.check());
  CHECK(seen.view().of(0).size() == 3);
  CHECK(seen.view().of(0).data() == seen.items.data() + 2);
  CHECK(seen.view().of(1).empty());
  CHECK(seen.view().of(2).size() == 2);
  CHECK(seen.view().of(3).data() == seen.view().of(0).data());
}

TEST_CASE("SeenLists: no lists at all is fine where no query asks for one") {
  Owned seen;
  seen.offsets.clear();
  seen.items.clear();
  seen.list_of_query = {-1, -5};
  CHECK_NOTHROW(seen.check(2));
  seen.list_of_query = {};
  CHECK_NOTHROW(seen.check(0));
}

TEST_CASE("SeenLists: a mistake is named") {
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
