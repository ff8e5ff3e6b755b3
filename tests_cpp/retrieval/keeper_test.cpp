#include "twotower/retrieval/keeper.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "twotower/base/random.hpp"

using namespace twotower;
using namespace twotower::retrieval;

TEST_CASE("Key: larger scores first, then smaller rows, and both come back") {
  const float largest = std::numeric_limits<float>::max(), tiny = std::numeric_limits<float>::min();
  const std::vector<float> scores{-largest, -2, -1, -tiny, 0, tiny, 1, 1.0000001f, 2, largest};
  const std::vector<Row> rows{0, 1, 2, 1000, std::numeric_limits<Row>::max()};
  for (std::size_t a = 0; a < scores.size(); ++a)
    for (const Row row : rows) {
      CHECK(score_of(key_of(scores[a], row)) == scores[a]);
      CHECK(row_of(key_of(scores[a], row)) == row);
      CHECK(key_of(scores[a], row) > 0);
      if (a > 0) CHECK(key_of(scores[a], rows.back()) > key_of(scores[a - 1], 0));
    }
  for (std::size_t i = 1; i < rows.size(); ++i) CHECK(key_of(1, rows[i]) < key_of(1, rows[i - 1]));
  CHECK(key_of(-0.0f, 3) == key_of(0.0f, 3));
}

TEST_CASE("Keeper: the k largest of all keys, best first") {
  const Index k = GENERATE(1, 2, 10, 63, 64, 65, 300), offers = GENERATE(0, 1, 64, 65, 299, 300, 301, 5000);
  RandomStream random(7, Purpose::kTest);
  std::vector<Key> keys;
  for (Index i = 0; i < offers; ++i) keys.push_back(key_of(static_cast<float>(random.below(50)), static_cast<Row>(i)));
  std::vector<Key> buffer(static_cast<std::size_t>(Keeper::capacity(k, offers)));
  Keeper keeper(buffer, k);
  CHECK(keeper.bound() == -std::numeric_limits<float>::infinity());
  for (const Key key : keys) keeper.offer(key);
  std::sort(keys.begin(), keys.end(), std::greater<>());
  keys.resize(std::min(keys.size(), static_cast<std::size_t>(k)));
  const auto best = keeper.best();
  CHECK(std::vector<Key>(best.begin(), best.end()) == keys);
}

TEST_CASE("Keeper: nothing at or below the bound could still get in, rows ascending") {
  RandomStream random(8, Purpose::kTest);
  std::vector<Key> all_buffer(static_cast<std::size_t>(Keeper::capacity(20, 3000))), some_buffer = all_buffer;
  Keeper all(all_buffer, 20), some(some_buffer, 20);
  Index skipped = 0;
  for (Row row = 0; row < 3000; ++row) {
    const auto score = static_cast<float>(random.below(40));
    all.offer(key_of(score, row));
    if (score > some.bound())
      some.offer(key_of(score, row));
    else
      ++skipped;
  }
  const auto a = all.best(), b = some.best();
  CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  CHECK(skipped > 1000);
}

TEST_CASE("write_best: a list, padded") {
  const std::vector<Key> keys{key_of(3, 7), key_of(-1, 2)};
  Matrix<Row> rows = Matrix<Row>::Constant(3, 3, 55);
  Matrix<float> scores = Matrix<float>::Constant(3, 3, 55);
  write_best(keys, 1, rows, scores);
  const float none = -std::numeric_limits<float>::infinity();
  CHECK(rows.row(1) == RowVector<Row>{{7, 2, -1}});
  CHECK(scores.row(1) == RowVector<float>{{3, -1, none}});
  CHECK((rows.row(0).array() == 55).all());
  CHECK((scores.row(2).array() == 55).all());
  write_best({}, 2, rows, scores);
  CHECK((rows.row(2).array() == -1).all());
}
